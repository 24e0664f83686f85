"""What a model finds on images: detections, their polygons and counts, and the fast way to them."""
