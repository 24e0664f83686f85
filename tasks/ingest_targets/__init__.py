"""Which project an ingest is for, and where its files come from."""
