"""Snapshots of the images of a project with their labels."""
