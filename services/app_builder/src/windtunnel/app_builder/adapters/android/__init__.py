"""APKs: what a base app says of itself, putting files into it, and its signatures."""
