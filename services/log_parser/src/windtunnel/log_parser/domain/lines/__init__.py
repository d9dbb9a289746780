"""From the bytes of a log to messages without the prefixes that loggers add."""
