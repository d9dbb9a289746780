"""The farms on this host: `local`, and `arm` under emulation."""
