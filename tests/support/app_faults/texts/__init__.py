"""Apps for texts."""
