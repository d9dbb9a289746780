"""What decides about apps: their inputs, kernels, times and outputs."""
