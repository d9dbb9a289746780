"""The metrics store: hears every event, owns the state of every run, gives the verdict and keeps the figures."""
