"""Pages of the public formats: a page per JSON Schema, and the table of all events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

SCHEMAS = "reference/schemas"


def schemas(root: Path) -> list[Path]:
    """The files of all JSON Schemas.

    Args:
        root: the repository.

    Returns:
        Their paths, sorted.
    """
    return sorted((root / "shared/src/windtunnel/schemas").glob("*.schema.json"))


def schema_pages(root: Path) -> dict[str, str]:
    """A page for each JSON Schema, and one that lists them.

    Args:
        root: the repository.

    Returns:
        Place on the site to Markdown.
    """
    index = ["# JSON Schemas", "", "| schema | describes |", "|---|---|"]
    found = {}
    for file in schemas(root):
        schema = json.loads(file.read_text(encoding="utf-8"))
        name = file.name.removesuffix(".schema.json")
        index.append(f"| [{name}]({name}.md) | {_cell(schema.get('title') or schema.get('description', ''))} |")
        found[f"{SCHEMAS}/{name}.md"] = "\n".join(_schema(name, file, schema)) + "\n"
    return {f"{SCHEMAS}/index.md": "\n".join(index) + "\n", **found}


def event_page(root: Path) -> dict[str, str]:
    """The page of all events, from docs/asyncapi.yaml.

    Args:
        root: the repository.

    Returns:
        Place on the site to Markdown.
    """
    document = yaml.safe_load((root / "docs/asyncapi.yaml").read_text(encoding="utf-8"))
    messages = document["components"]["messages"]
    lines = ["# Events", "", document["info"]["description"], ""]
    lines += [
        "The whole description is [asyncapi.yaml](../asyncapi.yaml).",
        "",
        "| subject | event | |",
        "|---|---|---|",
    ]
    for name, channel in document["channels"].items():
        message = messages.get(name, {})
        text = message.get("description") or message.get("summary") or channel.get("description", "")
        lines.append(f"| `{channel['address']}` | {name} | {_cell(text)} |")
    return {"reference/events.md": "\n".join(lines) + "\n"}


def _schema(name: str, file: Path, schema: dict[str, Any]) -> Iterator[str]:
    yield f"# {name}"
    yield ""
    about = [text.rstrip(".") for key in ("title", "description") if (text := schema.get(key))]
    yield " ".join(f"{_cell(text)}." for text in about)
    yield f"The schema is [{file.name}]({file.name})."
    yield ""
    if properties := schema.get("properties"):
        required = set(schema.get("required", ()))
        yield from ("| field | type | |", "|---|---|---|")
        for field, content in properties.items():
            mark = " (required)" if field in required else ""
            yield f"| `{field}`{mark} | {_cell(_kind(content))} | {_cell(content.get('description', ''))} |"
        yield ""
    yield from ("```json", file.read_text(encoding="utf-8").rstrip(), "```")


def _kind(content: dict[str, Any]) -> str:
    """The type of a field in words."""
    if "const" in content:
        return json.dumps(content["const"])
    if "enum" in content:
        return ", ".join(map(json.dumps, content["enum"]))
    if "$ref" in content:
        return str(content["$ref"]).rsplit("/", 1)[-1].replace("_", " ")
    if choices := content.get("anyOf") or content.get("oneOf"):
        return " or ".join(dict.fromkeys(filter(None, map(_kind, choices))))
    kind = content.get("type", "")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    items = content.get("items")
    return f"{text} of {_kind(items)}" if text == "array" and isinstance(items, dict) and _kind(items) else text


def _cell(text: str) -> str:
    return re.sub(r"([|<>*_])", r"\\\1", " ".join(text.split()))
