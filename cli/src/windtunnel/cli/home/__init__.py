"""The folder of an installation: which process runs Windtunnel there, and how commands find it or do without."""
