"""Making staged files part of their project, and bringing projects up to date."""
