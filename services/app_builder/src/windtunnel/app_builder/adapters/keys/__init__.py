"""Keys on disk, and the signatures that they make."""
