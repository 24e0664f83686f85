"""How a task runs: decorators, retries, runners, chunks."""
