"""The PostgreSQL database: connecting, its embedded server, tables and migrations."""
