"""The `windtunnel` command: the composition root for people."""
