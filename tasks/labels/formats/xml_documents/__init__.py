"""Label formats that are XML documents."""
