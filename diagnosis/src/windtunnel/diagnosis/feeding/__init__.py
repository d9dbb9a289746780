"""What both models are fed: paired inputs, and seeded random ones if there are no samples."""
