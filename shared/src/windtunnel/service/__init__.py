"""What every service is built from: its runtime, its settings, the plan of a run, values in protobuf."""
