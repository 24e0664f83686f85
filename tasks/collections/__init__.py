"""Collections: gathering images of folders and projects for a model."""
