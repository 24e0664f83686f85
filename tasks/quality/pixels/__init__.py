"""What the pixels of one image say: measurements and the perceptual hash."""
