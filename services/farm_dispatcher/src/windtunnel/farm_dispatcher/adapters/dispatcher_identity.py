"""Who a dispatcher is: a name that no other living process has, and that its successor in the same home has again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FILE: Final = "farm-dispatcher.identity"


@contextlib.contextmanager
def identity(home: Path) -> Iterator[str]:
    """The identity of this process, held until the end.

    A successor in the same home gets the same one: it need not wait for the leases of a process that was killed.

    Args:
        home: the folder of the service.

    Yields:
        The identity.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / _FILE).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Another dispatcher lives in this home.
            yield f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
            return
        file.seek(0)
        name = file.read().strip()
        if not name:
            name = f"{platform.node()}-{uuid.uuid4().hex[:12]}"
            file.write(name)
            file.flush()
        yield name
