"""Images that are made of a project's own: augmented, tiled, resized."""
