"""What the pixels of an image say about its quality, and what the images around it add."""
