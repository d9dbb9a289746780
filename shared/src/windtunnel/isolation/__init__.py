"""Native work in child processes: a crash, a leak or an endless loop ends one job, never the service.

`ChildPool` keeps warm children and runs module-level functions in them; `InlinePool` is the fake with the same
interface, for tests. Inside a job, `progress` reports to the parent how far it is.
"""

from __future__ import annotations

from windtunnel.isolation.inline import InlinePool
from windtunnel.isolation.pool import ChildPool, Pool
from windtunnel.isolation.reporting import Progress, progress

__all__ = ["ChildPool", "InlinePool", "Pool", "Progress", "progress"]
