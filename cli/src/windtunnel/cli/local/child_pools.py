"""What commands share that run native code here: the pool of child processes, and what must be installed for it."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Final

from windtunnel.errors import Unsupported

if TYPE_CHECKING:
    from windtunnel.isolation import ChildPool

TIMEOUT_S: Final = 6 * 3600.0


def memory_mb() -> int:
    """A child may use nine tenths of this machine's memory: the machine must survive it."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 0.9 / 1e6)


def new_pool(
    *preload: str, env: dict[str, str] | None = None, timeout_s: float = TIMEOUT_S, limit_mb: int | None = None
) -> ChildPool:
    """One child process, with what a command's job needs loaded before it begins. `limit_mb`: of its memory."""
    from windtunnel.isolation import ChildPool

    most = memory_mb() if limit_mb is None else limit_mb
    return ChildPool(preload=preload, size=1, timeout_s=timeout_s, memory_mb=most, env=env or {})


def require_installed(command: str, *modules: str) -> None:
    """Raises Unsupported where the command's optional part is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise Unsupported(
            f"`windtunnel {command}` needs {', '.join(missing)}, which is not installed",
            hint="pip install 'windtunnel-cli[up]'",
        )
