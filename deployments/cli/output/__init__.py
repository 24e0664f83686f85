"""What commands print: tables, progress, and JSON for scripts."""
