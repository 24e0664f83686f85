"""Models, collections, runs and what they found."""
