"""How the tables came to be what they are: Alembic migrations, applied at start."""
