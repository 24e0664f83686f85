"""The HTTP API for front ends: one more client of `storage`, beside the command line."""
