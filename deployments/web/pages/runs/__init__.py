"""Runs, two of them side by side, and what runs are made of."""
