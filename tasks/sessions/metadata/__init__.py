"""What the images of a session say themselves: generation metadata in their headers."""
