"""What is built, and for which platforms. No transport."""
