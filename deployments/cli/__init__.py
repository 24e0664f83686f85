"""The `visionflows` command."""
