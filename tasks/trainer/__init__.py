"""What the Ultralytics trainer takes: geometry, classes, data.yaml, file names, splits."""
