"""Running both models: every layer over all samples, each layer isolated, a patched candidate."""
