"""Sessions of image generation: their folders, what was computed of them, and lists of them."""
