"""The reference of the Python packages: a page for each, which mkdocstrings fills from the docstrings."""

from __future__ import annotations

from pathlib import Path

FOLDER = "reference/python"
# Package to its source root. Of the diagnosis library, every room has a page.
_PACKAGES = {
    "windtunnel.client": "sdk/python/client/src",
    "windtunnel.monitor": "sdk/python/monitor/src",
    "windtunnel.plan": "shared/src",
    "windtunnel.pipeline": "shared/src",
    "windtunnel.errors": "shared/src",
    "windtunnel.diagnosis": "diagnosis/src",
}
_LIBRARY = "windtunnel.diagnosis"


def pages(root: Path) -> dict[str, str]:
    """The pages of all packages.

    Args:
        root: the repository.

    Returns:
        Place on the site to Markdown.
    """
    folder = root / _PACKAGES[_LIBRARY] / _LIBRARY.replace(".", "/")
    rooms = sorted(path.parent.name for path in folder.glob("*/__init__.py"))
    found = {f"{FOLDER}/{name}.md": _page(name, of_all=False) for name in _PACKAGES}
    return {**found, **{f"{FOLDER}/{_LIBRARY}.{room}.md": _page(f"{_LIBRARY}.{room}", of_all=True) for room in rooms}}


def _page(name: str, *, of_all: bool) -> str:
    """A page of one package: what it exports or, of a room, its modules too."""
    options = "    options:\n      show_submodules: true\n" if of_all else ""
    return f"# {name}\n\n::: {name}\n{options}"
