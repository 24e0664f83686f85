"""The rows of many YOLO label files as columns of numbers, read and judged at once."""
