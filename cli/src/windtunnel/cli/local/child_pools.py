"""The child process in which commands run native code, and the check that the optional packages are installed."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Final

from windtunnel.errors import Unsupported

if TYPE_CHECKING:
    from windtunnel.isolation import ChildPool

TIMEOUT_S: Final = 6 * 3600.0


def memory_mb() -> int:
    """The memory that a child process may use: 90 % of this machine's, in MB."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 0.9 / 1e6)


def new_pool(
    *preload: str, env: dict[str, str] | None = None, timeout_s: float = TIMEOUT_S, limit_mb: int | None = None
) -> ChildPool:
    """A pool of one child process.

    Args:
        *preload: modules that it imports before the first job.
        env: its additional environment variables.
        timeout_s: limit of a job, in seconds.
        limit_mb: limit of its memory, in MB; default: `memory_mb()`.

    Returns:
        The pool; the process starts with the first job.
    """
    from windtunnel.isolation import ChildPool

    most = memory_mb() if limit_mb is None else limit_mb
    return ChildPool(preload=preload, size=1, timeout_s=timeout_s, memory_mb=most, env=env or {})


def require_installed(command: str, *modules: str) -> None:
    """Checks that the modules that a command needs are installed.

    Args:
        command: its name, for the message.
        *modules: importable names.

    Raises:
        Unsupported: a module is not installed. The message says how to install it.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise Unsupported(
            f"`windtunnel {command}` needs {', '.join(missing)}, which is not installed",
            hint="pip install 'windtunnel-cli[up]'",
        )
