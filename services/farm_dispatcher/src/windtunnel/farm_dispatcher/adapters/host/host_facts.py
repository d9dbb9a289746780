"""Facts about this host."""

from __future__ import annotations

import importlib.metadata
import os
import platform

from windtunnel.farm_dispatcher.domain.devices import DeviceFacts
from windtunnel.machine import processor

RUNTIME = "ai-edge-litert"


def host_facts(name: str) -> DeviceFacts:
    """CPU, memory, OS and runtime of this machine, as far as it reports them.

    Args:
        name: of the device.

    Returns:
        The facts.
    """
    system, version = _os()
    return DeviceFacts(
        name=name,
        cpu=processor(),
        cores=_cores(),
        memory_bytes=_memory_bytes(),
        os=system,
        os_version=version,
        runtime=f"{RUNTIME} {importlib.metadata.version(RUNTIME)}",
    )


def _cores() -> int | None:
    """Cores that this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _os() -> tuple[str, str]:
    if platform.system() == "Darwin":
        return "macOS", platform.mac_ver()[0]
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.system(), platform.release()
    return release.get("NAME", platform.system()), release.get("VERSION_ID", "")
