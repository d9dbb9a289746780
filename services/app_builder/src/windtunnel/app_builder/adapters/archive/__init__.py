"""Zip files: reading those of others safely, writing aligned ones that are the same every time."""
