"""Weights, and the runtimes that execute them."""
