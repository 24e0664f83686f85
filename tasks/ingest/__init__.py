"""Staging files for a project, and committing them."""
