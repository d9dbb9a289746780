"""Scorers: what of a model's outputs counts for a task, and the figures of all samples."""
