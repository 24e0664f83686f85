"""Registering folders of images as projects."""
