"""Facts about the machine that this process runs on."""

from __future__ import annotations

import platform
from pathlib import Path


def processor() -> str:
    """The processor model's name on x86; on ARM, where /proc/cpuinfo has none, what the platform says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.lower().startswith(("model name", "hardware")))
    return next((name for name in names if name), platform.processor() or platform.machine())
