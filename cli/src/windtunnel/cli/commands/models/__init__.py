"""Commands on model files, which need no server."""
