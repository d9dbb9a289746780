"""JSON Schemas of documents, generated from their models for editors and publishers."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from windtunnel.documents.document import Document

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_HOME: Final = "https://windtunnel.dev/schemas"


class _Generator(GenerateJsonSchema):
    """Without the titles that pydantic derives from names: they say nothing new."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema_text(model: type[Document], name: str, title: str) -> str:
    """The JSON Schema of a document.

    Args:
        model: the model of the whole document.
        name: of the schema, for example "plan".
        title: one line for people.

    Returns:
        The text of its file.
    """
    schema = _plain(model.model_json_schema(mode="validation", schema_generator=_Generator))
    definitions = {"$defs": schema.pop("$defs")} if "$defs" in schema else {}
    head = {"$schema": DIALECT, "$id": f"{_HOME}/{name}.schema.json", "title": title}
    return json.dumps({**head, **schema, **definitions}, indent=2, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    """A schema without the titles of its parts, and without null as default: null is absent anyway."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        # Below these are names of fields, not words of JSON Schema.
        key: {name: _plain(item) for name, item in held.items()} if key in ("properties", "$defs") else _plain(held)
        for key, held in value.items()
        if not (key == "title" and isinstance(held, str)) and not (key == "default" and held is None)
    }
