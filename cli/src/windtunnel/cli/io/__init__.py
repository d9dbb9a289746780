"""Standard streams, files, progress and interrupts of commands. Nothing here depends on models or runs."""
