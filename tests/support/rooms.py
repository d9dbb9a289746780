"""The rooms of the house: which folders of Windtunnel's packages import which, read from the source by grimp."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import grimp

HOUSE = "windtunnel"


def import_graph() -> grimp.ImportGraph:
    """Every module of every workspace member, and who imports whom."""
    return grimp.build_graph(HOUSE, cache_dir=None)


def room_of(module: str, packages: frozenset[str]) -> str:
    """The folder that holds a module; a package's `__init__` is in the package's own folder."""
    return module if module in packages else module.rpartition(".")[0]


def packages_of(modules: Iterable[str]) -> frozenset[str]:
    """The modules that are folders with modules in them."""
    return frozenset(module.rpartition(".")[0] for module in modules)


def room_imports(graph: grimp.ImportGraph) -> dict[str, set[str]]:
    """For each folder the other folders that its modules import, lazy imports and type-checking ones included."""
    packages = packages_of(graph.modules)
    rooms: dict[str, set[str]] = {}
    for module in graph.modules:
        here = room_of(module, packages)
        there = {room_of(other, packages) for other in graph.find_modules_directly_imported_by(module)}
        rooms.setdefault(here, set()).update(there - {here})
    return rooms


def cycles(rooms: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of folders that import each other in a circle, each sorted: strongly connected components.

    Args:
        rooms: for each folder the folders it imports.

    Returns:
        Every group of two or more folders; none if the folders can be put in one order.
    """
    reached = {room: _reached(room, rooms) for room in rooms}
    groups = {
        frozenset({room, *(other for other in reached[room] if room in reached.get(other, ()))}) for room in rooms
    }
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reached(start: str, rooms: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        for room in rooms.get(ahead.pop(), ()):
            if room not in seen:
                seen.add(room)
                ahead.append(room)
    return seen


def modules_per_folder(sources: Iterable[Path]) -> Counter[Path]:
    """How many modules each folder holds; `__init__` and `__main__` say what a folder is and are not counted."""
    counted: Counter[Path] = Counter()
    for source in sources:
        for path in source.rglob("*.py"):
            if path.name not in ("__init__.py", "__main__.py"):
                counted[path.parent] += 1
    return counted
