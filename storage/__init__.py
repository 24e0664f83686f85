"""Settings, the database, jobs, files and snapshots: everything that outlives a run."""
