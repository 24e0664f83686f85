"""The label rows of an archive as columns: numbers, verdicts, counts."""
