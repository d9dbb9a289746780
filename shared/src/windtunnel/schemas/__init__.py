"""JSON Schemas (draft 2020-12) of the public formats."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

__all__ = ["load", "names"]


def load(name: str) -> dict[str, Any]:
    """Reads a schema.

    Args:
        name: for example "log" or "plan".

    Returns:
        The JSON Schema.

    Raises:
        FileNotFoundError: there is no such schema.
    """
    text = resources.files(__package__).joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def names() -> list[str]:
    """All schemas there are."""
    suffix = ".schema.json"
    entries = (entry.name for entry in resources.files(__package__).iterdir())
    return sorted(name.removesuffix(suffix) for name in entries if name.endswith(suffix))
