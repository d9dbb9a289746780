"""Where the runs of a home are stored, for commands that read them without a server. Imports nothing large."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_DATABASE: Final = "metrics.db"
_SQLITE: Final = "sqlite:///"


def runs_database(home: Path) -> Path | None:
    """The SQLite file with the runs of a home, or that of WINDTUNNEL_DATABASE_URL if it is set.

    Args:
        home: the folder that `windtunnel up` works in.

    Returns:
        The path; None if there is no such file, or the runs are in a database of another kind.
    """
    named = os.environ.get("WINDTUNNEL_DATABASE_URL", "")
    if named and not named.startswith(_SQLITE):
        return None
    path = Path(named.removeprefix(_SQLITE)) if named else home / _DATABASE
    return path.absolute() if path.is_file() else None
