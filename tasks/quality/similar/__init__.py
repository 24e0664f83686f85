"""What the hashes of many images say: nearest images and duplicate groups."""
