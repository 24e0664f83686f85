"""From an image to detections: letterbox, engine, decoding, suppression, outlines."""
