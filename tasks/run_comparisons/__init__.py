"""Comparing two runs: which objects both have found, and where they disagree."""
