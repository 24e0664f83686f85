"""What all flows share: their job, mapped chunks, progress and events."""
