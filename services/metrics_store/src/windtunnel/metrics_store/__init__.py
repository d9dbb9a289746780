"""The metrics store: records every event, owns the state of every run, gives the verdict and keeps the figures."""
