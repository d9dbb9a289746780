"""A measurement on this host: the procedure, its host, and its log."""
