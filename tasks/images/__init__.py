"""Finding, identifying and decoding image files."""
