"""Removing what visionflows keeps: what would go with a thing, and letting it go."""
