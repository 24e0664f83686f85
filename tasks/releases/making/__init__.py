"""Making a release: which images and labels go in, under which names, and the bytes."""
