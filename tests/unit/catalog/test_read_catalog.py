"""Reading the file of a catalog, and finding entries in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml

from windtunnel import schemas
from windtunnel.catalog import CatalogEntry, EntryKind, parse_catalog_text, read_catalog
from windtunnel.catalog.catalog_document import ABIS, KINDS
from windtunnel.errors import InvalidInput, NotFound

A, B, C, D = (letter * 64 for letter in "abcd")
TEXT = f"""
apiVersion: windtunnel/v1
entries:
  - {{name: benchmark_model, kind: binary, abi: arm64-v8a, version: "2.20", uri: "https://h.example/b/arm64", sha256: {A}, size_bytes: 5}}
  - {{name: benchmark_model, kind: binary, abi: x86_64, sha256: {B}}}
  - {{name: benchmark_app, kind: android_app, path: apps/base.apk, sha256: {C}}}
  - {{name: old_app, kind: android_app, path: apps/old.apk, sha256: {D}}}
  - {{name: loops, kind: game_loop_app, uri: "sha256:{D}", sha256: {D}}}
  - {{name: test, kind: android_test_app, uri: "s3://bucket/test.apk", sha256: {A}}}
  - {{name: phone, kind: ios_app, uri: "gs://bucket/base.ipa", sha256: {B}}}
  - {{name: phone_tests, kind: ios_test_app, path: tests.zip, sha256: {C}}}
"""  # noqa: E501


def entry_text(**fields: object) -> str:
    given = {"name": "b", "kind": "binary", "abi": "x86_64", "sha256": A, **fields}
    one = {name: value for name, value in given.items() if value is not None}
    return yaml.safe_dump({"apiVersion": "windtunnel/v1", "entries": [one]})


def test_entries_are_found_by_name_abi_and_kind(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(TEXT)
    catalog = read_catalog(path)
    assert catalog.binary("benchmark_model", "arm64-v8a") == CatalogEntry(
        "benchmark_model", EntryKind.BINARY, A, "https://h.example/b/arm64", "arm64-v8a", "2.20", 5
    )
    assert catalog.binary("benchmark_model", "x86_64").uri == f"sha256:{B}"
    assert catalog.app("activity", "android").uri == (tmp_path / "apps/base.apk").as_uri()
    assert catalog.app("instrumentation", "android").name == "benchmark_app"
    assert catalog.app("android_app", "android", "old_app").sha256 == D
    assert catalog.app("game_loop", "android").kind is EntryKind.GAME_LOOP_APP
    assert catalog.app("android_test_app", "android").name == "test"
    assert catalog.app("xctest", "ios") is catalog.app("ios_app", "ios")
    assert [entry.platform for entry in catalog.entries] == ["android"] * 6 + ["ios"] * 2
    assert catalog.app("ios_test_app", "ios").name == "phone_tests"


def test_what_is_not_there_is_an_error_that_names_what_is(tmp_path: Path) -> None:
    catalog = parse_catalog_text(TEXT, tmp_path / "catalog.yaml")
    cases: tuple[tuple[Callable[[], CatalogEntry], str], ...] = (
        (lambda: catalog.binary("benchmark_model", "x86"), "it has this binary for arm64-v8a, x86_64"),
        (
            lambda: catalog.binary("benchmark", "x86_64"),
            "benchmark_model \\(arm64-v8a\\), benchmark_model \\(x86_64\\)",
        ),
        (lambda: catalog.app("game_loop", "ios"), "no app of kind 'game_loop' for ios"),
        (lambda: catalog.app("ios_app", "android"), "phone \\(ios_app\\)"),
        (lambda: catalog.app("activity", "android", "new"), "no app 'new'"),
    )
    for find, says in cases:
        with pytest.raises(NotFound, match=says) as caught:
            find()
        assert "catalog.yaml" in caught.value.message and "add an entry" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("entries: []", "apiVersion"),
        ("apiVersion: windtunnel/v1", "entries"),
        ("apiVersion: windtunnel/v2\nentries: []", "line 1, column 1: apiVersion: apiVersion is 'windtunnel/v2'"),
        ("apiVersion: windtunnel/v1\nentries: {}", "must be a list"),
        ("a: b: c", "not YAML"),
        ("apiVersion: windtunnel/v1\nentries:\n- {name: a, name: b}", "'name' is given twice"),
        (entry_text(name="a b"), r"entries\[0\]\.name: must be a name"),
        (entry_text(name=None), r"entries\[0\]\.name: must be a name"),
        (entry_text(kind="apk"), "unknown kind"),
        (entry_text(abi="arm64"), "did you mean 'arm64-v8a'"),
        (entry_text(abi=None), "a binary needs its ABI"),
        (entry_text(version=2.2), "version: must be text of at most 64 characters, this is float 2.2 (put it in"),
        (entry_text(sha256=A.upper()), "must be 64 lower-case hex digits"),
        (entry_text(sha256=None), "must be 64 lower-case hex digits"),
        (entry_text(uri="s3://b/k", path="k"), "uri and path exclude each other"),
        (entry_text(uri="http://h/k"), "cannot read 'http://h/k'"),
        (entry_text(uri=f"sha256:{B}"), f"is not sha256:{A}"),
        (entry_text(size_bytes=0), "must be a whole number of bytes"),
        (entry_text(size_bytes=True), "must be a whole number of bytes"),
        (entry_text(size=3), "unknown field 'size' (known are name"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_catalog_text(text, tmp_path / "my.yaml")
    assert says.replace("\\", "") in str(caught.value)
    assert str(tmp_path / "my.yaml") in caught.value.message
    assert caught.value.code == "invalid_input"


def test_one_entry_twice_is_refused(tmp_path: Path) -> None:
    one = {"name": "b", "kind": "binary", "abi": "x86", "sha256": A}
    with pytest.raises(InvalidInput, match=r"has binary b \(x86\) twice"):
        parse_catalog_text(yaml.safe_dump({"apiVersion": "windtunnel/v1", "entries": [one, one]}), tmp_path / "c")


def test_files_that_are_not_catalogs(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\x7fELF\xff\xfe")
    (tmp_path / "large").write_bytes(b" " * (1 << 21))
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "/dev/zero"):
        with pytest.raises(InvalidInput, match="not a plain file"):
            read_catalog(tmp_path / name)
    for name, says in (("binary", "not UTF-8"), ("large", "more than"), ("nowhere", "cannot be read"), ("", "cannot")):
        with pytest.raises(InvalidInput, match=says):
            read_catalog(tmp_path / name)


def test_the_schema_takes_what_is_read() -> None:
    schema = schemas.load("catalog")
    jsonschema.validate(yaml.safe_load(TEXT), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(entry_text(abi="arm64")), schema)
    entry = schema["$defs"]["EntryDocument"]["properties"]
    assert tuple(entry["kind"]["enum"]) == KINDS == tuple(EntryKind)
    assert tuple(entry["abi"]["anyOf"][0]["enum"]) == ABIS
