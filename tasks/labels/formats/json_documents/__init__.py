"""Label formats that are JSON documents."""
