"""What the converter converts, and what it says about the result. No transport."""
