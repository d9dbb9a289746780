"""IPAs: what a base app says of itself, putting files into it, and Apple's code signature."""
