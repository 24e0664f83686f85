"""YOLO label files: many of them read as columns of numbers at once, judged, and written."""
