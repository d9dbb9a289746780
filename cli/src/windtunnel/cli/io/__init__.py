"""Standard streams, files, progress and interrupts of a command: nothing here knows models or runs."""
