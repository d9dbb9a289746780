"""`windtunnel up` processes that do not have the lock of their home yet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


def is_up_starting(home: Path) -> bool:
    """Whether a process of this user runs `windtunnel up` for `home`. Always False on systems without /proc.

    Args:
        home: the folder; its absolute path is compared with the one in the command line of the processes.
    """
    if not _PROC.is_dir():
        return False
    return any(entry.name.isdigit() and _is_up(entry, home) for entry in _PROC.iterdir())


def _is_up(process: Path, home: Path) -> bool:
    try:
        words = _words(process / "cmdline")
        if not _runs_up(words) or int(process.name) == os.getpid():
            return False
        named = _home_option(words) or _home_variable(process)
        return (process / "cwd").resolve().joinpath(named).resolve() == home.resolve()
    except OSError:
        # The process has ended, or belongs to another user.
        return False


def _words(path: Path) -> list[str]:
    return path.read_bytes().decode("utf-8", "surrogateescape").split("\0")[:-1]


def _runs_up(words: Sequence[str]) -> bool:
    """Whether a command line is that of `windtunnel up`: by its script, or as `python -m windtunnel.cli`."""
    for position, word in enumerate(words[:-1]):
        if Path(word).name == "windtunnel" or (word == "windtunnel.cli" and words[position - 1] == "-m"):
            return words[position + 1] == "up"
    return False


def _home_option(words: Sequence[str]) -> str:
    for position, word in enumerate(words):
        if word == "--home" and position + 1 < len(words):
            return words[position + 1]
        if word.startswith("--home="):
            return word.removeprefix("--home=")
    return ""


def _home_variable(process: Path) -> Path:
    from windtunnel.client.endpoints import DEFAULT_HOME

    name = "WINDTUNNEL_HOME="
    named = [word.removeprefix(name) for word in _words(process / "environ") if word.startswith(name)]
    return Path(next(filter(None, named), DEFAULT_HOME)).expanduser()
