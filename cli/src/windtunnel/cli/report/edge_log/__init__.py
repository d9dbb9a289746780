"""Edge logs in the terminal: what they hold, and the comparison of two."""
