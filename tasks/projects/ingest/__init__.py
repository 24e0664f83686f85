"""One ingest: target, plan, staging, commit, report."""
