"""The layer diff service: compares every variant with its reference (`windtunnel.diagnosis`)."""
