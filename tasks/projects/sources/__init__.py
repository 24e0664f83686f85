"""Where the files of an ingest come from: a folder or an archive."""
