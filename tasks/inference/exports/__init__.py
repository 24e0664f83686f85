"""What a run has found, in the formats that other programs read."""
