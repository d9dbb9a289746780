"""The farm `adb`: phones attached to an adb server."""
