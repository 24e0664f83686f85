"""Files that people send, and pictures that are shown to them."""
