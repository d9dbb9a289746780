"""The use case: compare two models over samples and explain how they differ."""
