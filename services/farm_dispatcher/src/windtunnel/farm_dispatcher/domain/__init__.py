"""Devices, cells, farms, and whether a measurement can be trusted. No transport."""
