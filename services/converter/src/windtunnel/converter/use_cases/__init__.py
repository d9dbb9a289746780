"""What the converter does: resolve a plan, convert a model, check the conversion."""
