"""Label formats of rows of text, other than YOLO."""
