"""Apps for images."""
