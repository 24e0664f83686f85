"""What a manifest promises: reading it, mending it, counting what it expects."""
