"""Which label belongs to which image of a dataset, and which split an image is in."""
