"""Models of documents: names, paths, words and schemas, whatever the document is."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

import jsonschema
import pytest
from pydantic import Field

from windtunnel.documents import Document, DocumentRefused, validated
from windtunnel.documents.field_types import OneOrMany, must_be
from windtunnel.documents.json_schema import schema_text


class Inner(Document):
    """Something inside."""

    called: ClassVar[str] = "an inner thing"

    size_mb: Annotated[int, Field(ge=1, le=9), must_be("a whole number from 1 to 9")] | None = None
    how: Literal["a", "b"] = "a"


class Outer(Document):
    """A document."""

    called: ClassVar[str] = "a document"

    the_kind: Literal["x"] | None = Field(alias="theKind")
    inner: list[Inner] | None = Field(None, description="Things inside.")
    names: OneOrMany[str] = None
    odd: bytes | None = None


class Strict(Document):
    """Names as they are written; null is a value."""

    called: ClassVar[str] = "a strict thing"
    camel_case: ClassVar[bool] = False
    missing_is_null: ClassVar[bool] = False

    first_name: str


def refused(model: type[Document], value: Any) -> DocumentRefused:
    with pytest.raises(DocumentRefused) as caught:
        validated(model, value)
    return caught.value


def test_names_in_either_spelling() -> None:
    read = validated(Outer, {"theKind": "x", "inner": [{"sizeMb": 2}, {"size_mb": 3}], "names": "n"})
    assert read.inner is not None
    assert ([one.size_mb for one in read.inner], read.names) == ([2, 3], "n")
    assert validated(Outer, {"the_kind": None} | {"names": ["a", "b"]}).names == ["a", "b"]
    assert validated(Strict, {"first_name": "x"}).first_name == "x"


@pytest.mark.parametrize(
    ("model", "value", "path", "message", "hint"),
    [
        (Outer, [], (), "a document must be an object, this is list []", ""),
        (Outer, {"iner": []}, ("iner",), "unknown field 'iner'", "did you mean 'inner'?"),
        (Outer, {"zzz": []}, ("zzz",), "unknown field 'zzz'", "known are theKind, inner, names, odd"),
        (Outer, {"inner": [{}, 7]}, ("inner", 1), "an inner thing must be an object, this is int 7", ""),
        (Outer, {"inner": {}}, ("inner",), "must be a list, this is dict {}", ""),
        (
            Outer,
            {"inner": [{"sizeMb": 10}]},
            ("inner", 0, "size_mb"),
            "must be a whole number from 1 to 9, this is int 10",
            "",
        ),
        (
            Outer,
            {"inner": [{"size_mb": 1, "sizeMb": 1}]},
            ("inner", 0, "size_mb"),
            "field 'size_mb' is given twice",
            "",
        ),
        (Outer, {"inner": [{"how": "c"}]}, ("inner", 0, "how"), "must be 'a' or 'b', this is str 'c'", ""),
        (Outer, {"names": ["a", 1]}, ("names", 1), "must be text, this is int 1", ""),
        (Outer, {"names": 1}, ("names",), "must be text, this is int 1", ""),
        (Strict, {}, ("first_name",), "is missing", ""),
        (Strict, {"firstName": "x"}, ("firstName",), "unknown field 'firstName'", "did you mean 'first_name'?"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    model: type[Document], value: Any, path: tuple[Any, ...], message: str, hint: str
) -> None:
    error = refused(model, value)
    assert (error.path, error.message, error.hint) == (path, message, hint)


def test_a_check_without_words_of_ours_still_names_the_value() -> None:
    error = refused(Outer, {"odd": 7})
    assert error.path == ("odd",)
    assert error.message.endswith("this is int 7")


def test_the_first_fault_in_the_order_of_the_fields_is_said() -> None:
    assert refused(Outer, {"names": 1, "inner": 2, "theKind": "y"}).path == ("theKind",)


def test_the_schema_says_the_same() -> None:
    text = schema_text(Outer, "outer", "An outer thing")
    schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert schema["$id"].endswith("/outer.schema.json")
    assert text.count('"title"') == 1
    assert "null,\n" not in json.dumps(schema["properties"]["inner"], indent=1).replace('"null"', "")
    assert schema["properties"]["inner"]["description"] == "Things inside."
    validator.validate({"theKind": "x", "inner": [{"size_mb": 9}], "names": ["a"]})
    for wrong in ({}, {"theKind": "x", "more": 1}, {"theKind": "x", "inner": [{"size_mb": 10}]}):
        assert not validator.is_valid(wrong)
