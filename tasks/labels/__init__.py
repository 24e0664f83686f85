"""Labels of images: one in-memory form, and a reader and writer for each file format."""
