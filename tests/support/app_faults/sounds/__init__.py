"""Apps for sounds."""
