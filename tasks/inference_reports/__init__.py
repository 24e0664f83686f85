"""What a run of inference found, as a snapshot, a page and artifacts."""
