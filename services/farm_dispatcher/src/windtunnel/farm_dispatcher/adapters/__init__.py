"""The farms, one module each, and what they share."""
