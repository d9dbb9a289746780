"""Where this user's caches lie: what can be made again, and is slow to make."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path


def cache_folder(name: str) -> Path:
    """Returns the folder of one cache, by the conventions of the operating system; it may not exist yet.

    Args:
        name: the cache, one folder name: "arm", "diff".

    Returns:
        `$XDG_CACHE_HOME/windtunnel/<name>` or `~/.cache/windtunnel/<name>` on Linux, `~/Library/Caches/...` on macOS.
    """
    return user_cache_path("windtunnel", appauthor=False) / name
