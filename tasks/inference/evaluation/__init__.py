"""How good a run is: its detections against the labels of its images."""
