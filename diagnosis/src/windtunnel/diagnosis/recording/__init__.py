"""What an app recorded: one type for edge.npz and the monitor's log."""
