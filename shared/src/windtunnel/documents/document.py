"""The base of the models of documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, model_validator

from windtunnel.documents.problems import kind_of, nearest, problem

_HUMP: Final = re.compile(r"(?<=[a-z0-9])[A-Z]")


class Document(BaseModel):
    """An object of a document: strict types, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    # How messages name the object, for example "a device filter".
    called: ClassVar[str]
    # Fields are also read in camelCase.
    camel_case: ClassVar[bool] = True
    # null is absent everywhere, so that what is missing is null.
    missing_is_null: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _by_known_names(cls, value: Any) -> dict[str, Any]:
        # The fields by the names that the model has for them; unknown and repeated ones are refused.
        if not isinstance(value, Mapping):
            raise problem(f"{cls.called} must be an object, this is {kind_of(value)}")
        known = {field.alias or name: field for name, field in cls.model_fields.items()}
        fields: dict[str, Any] = {}
        for key, item in value.items():
            name = cls.name_of(str(key))
            if name not in known and cls.model_config.get("extra") == "forbid":
                raise problem(f"unknown field {str(key)[:80]!r}", nearest(name, known), (name,))
            if name in fields:
                raise problem(f"field {name!r} is given twice", at=(name,))
            fields[name] = item
        if cls.missing_is_null:
            fields |= {name: None for name, field in known.items() if field.is_required() and name not in fields}
        return fields

    @classmethod
    def name_of(cls, key: str) -> str:
        """The field that a key of the document means.

        Args:
            key: as it is written; camelCase is read too if `camel_case` is set.

        Returns:
            The name of the field in the document: snake_case, or its alias.
        """
        if not cls.camel_case:
            return key
        snake = snake_case(key)
        field = cls.model_fields.get(snake)
        return field.alias if field is not None and field.alias else snake


def snake_case(name: str) -> str:
    """`latencyMs` as `latency_ms`.

    Args:
        name: in camelCase or snake_case.

    Returns:
        The name in snake_case.
    """
    return _HUMP.sub(lambda match: f"_{match[0].lower()}", name)
