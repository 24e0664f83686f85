"""What gives labels to the images of a dataset, besides a file for each of them."""
