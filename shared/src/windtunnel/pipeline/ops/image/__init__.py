"""The ops on images."""
