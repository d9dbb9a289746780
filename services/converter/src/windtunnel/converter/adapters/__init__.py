"""Outside things that the converter uses: TensorFlow."""
