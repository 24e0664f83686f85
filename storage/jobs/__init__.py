"""The life of a job: its row, its chunks, its lock, and who holds it."""
