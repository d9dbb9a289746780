"""Apps for detectors."""
