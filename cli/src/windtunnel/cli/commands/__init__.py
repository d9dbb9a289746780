"""The commands: options in, exit code out. Each does its work by the other rooms."""
