"""Masks: run lengths and pictures, and their outlines."""
