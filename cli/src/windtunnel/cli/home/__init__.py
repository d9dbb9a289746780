"""The folder of an installation: which process runs Windtunnel there, and how commands use it with or without one."""
