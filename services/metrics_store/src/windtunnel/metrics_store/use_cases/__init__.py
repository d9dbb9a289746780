"""What the metrics store does: each module one task, on the ports it needs."""
