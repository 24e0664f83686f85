"""What a model finds on the images of a collection, and the fast way to it."""
