"""The samples of a remedy, and what models do on them: outputs, figures, latencies."""
