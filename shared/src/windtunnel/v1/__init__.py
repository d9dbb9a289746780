"""Generated from proto/windtunnel/v1 by proto/generate. Do not edit."""
