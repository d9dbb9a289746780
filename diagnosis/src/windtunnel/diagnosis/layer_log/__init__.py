"""A file of what a model's layers held, frame by frame; and two such files compared."""
