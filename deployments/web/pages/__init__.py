"""Pages for people: one module a noun, over the same functions as the HTTP API."""
