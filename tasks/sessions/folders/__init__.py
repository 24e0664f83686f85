"""Finding session folders and what lies in them."""
