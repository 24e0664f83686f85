"""What a release holds: the statistics of a dataset ZIP, found without unpacking it."""
