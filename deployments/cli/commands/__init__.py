"""What the command does beside running flows: one module per noun."""
