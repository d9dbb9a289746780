"""Edge logs for people and other tools: their summary, the comparison of two, and their exports."""
