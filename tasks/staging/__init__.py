"""Staging the files of an ingest: copied, read whole, and with what is generated from them."""
