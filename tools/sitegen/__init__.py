"""Pages of the documentation site that are generated: from the repository's own files, commands, schemas and code."""
