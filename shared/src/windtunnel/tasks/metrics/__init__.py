"""The formulas of the metrics of tasks: pure functions of numpy arrays."""
