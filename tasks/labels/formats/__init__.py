"""One module per label file format, and the registry of them."""
