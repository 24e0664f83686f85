"""Reading a ZIP without unpacking it: directory, members, checks, limits."""
