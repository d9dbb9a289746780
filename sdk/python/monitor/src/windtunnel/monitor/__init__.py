"""Records what an app feeds its model and what comes out."""

from windtunnel.monitor.frame import Frame
from windtunnel.monitor.monitor import Monitor

__all__ = ["Frame", "Monitor"]
