"""docs/farms.md says what farms.yaml takes, and what becomes of cells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from windtunnel import schemas
from windtunnel.farm_dispatcher.adapters.farm_registry import FARMS
from windtunnel.farm_dispatcher.adapters.farms_file.read_farms import read_farms
from windtunnel.farms.failure_kinds import FailureKind

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/farms.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "docs/farms").glob("*.md"))
SCHEMA = schemas.load("farms")


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    table = PAGE.partition(heading)[2].partition("\n|")[2].partition("\n\n")[0]
    lines = [line for line in table.splitlines() if not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_every_field_of_the_document_has_its_row() -> None:
    stated: dict[str, set[str]] = {}
    for fields, kinds, *_ in rows("## farms.yaml"):
        names = list(FARMS) if kinds == "all" else kinds.split(", ")
        for kind in names:
            stated.setdefault(kind, set()).update(re.findall(r"`(\w+)`", fields))
    documents: dict[str, Any] = SCHEMA["$defs"]
    for kind in FARMS:
        assert stated[kind] == set(documents[f"{kind.capitalize()}Document"]["properties"]), kind


def test_every_kind_of_farm_and_of_failure_has_its_row() -> None:
    assert sorted(row[0].strip("`") for row in rows("# Farms\n")) == sorted(FARMS)
    assert [row[0].strip("`") for row in rows("## Kinds of failure")] == [kind.value for kind in FailureKind]
    tried = [row[0].strip("`") for row in rows("## Kinds of failure") if row[2].startswith("yes")]
    assert tried == [kind.value for kind in FailureKind if kind.is_retried]


def test_the_defaults_are_those_of_the_code(tmp_path: Path) -> None:
    project = {"project": "p", "results": "gs://b/f"}
    farms = [{"name": kind, "kind": kind, **(project if kind in ("firebase", "ddp") else {})} for kind in FARMS]
    next(one for one in farms if one["kind"] == "aws")["project"] = "arn"
    (tmp_path / "farms.yaml").write_text(yaml.safe_dump({"apiVersion": "windtunnel/v1", "farms": farms}))
    found = {one.kind: one for one in read_farms(tmp_path / "farms.yaml")}
    assert {one.attempts for one in found.values()} == {3} and {one.timeout_minutes for one in found.values()} == {15}
    defaults = {row[0].strip("`"): row[2] for row in rows("## farms.yaml")}
    for name, field in (("parallel", "parallel"), ("cells_per_run", "entries"), ("pack_seconds", "pack_seconds")):
        words = defaults[name]
        for kind, settings in found.items():
            own = next((part for part in words.split("; ")[-1].split(", ") if kind in part), None)
            number = re.search(r"(\d+)", _with_its_number(words, kind) if own else words)
            assert number is not None and float(number[1]) == getattr(settings, field), (name, kind)


def _with_its_number(words: str, kind: str) -> str:
    """What follows a kind: in "adb and firebase 8, ddp and aws 20" the number of firebase is 8."""
    return words.partition(kind)[2]


def test_the_examples_can_be_read(tmp_path: Path) -> None:
    text = PAGE.partition("cat > farms.yaml <<END\n")[2].partition("    END")[0]
    (tmp_path / "farms.yaml").write_text("\n".join(line[4:] for line in text.splitlines()))
    assert [one.name for one in read_farms(tmp_path / "farms.yaml")] == ["local", "bench", "aws"]
    jsonschema.validate(yaml.safe_load((tmp_path / "farms.yaml").read_text()), SCHEMA)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_of_a_farm_is_in_the_navigation_and_linked(page: Path) -> None:
    assert f"farms/{page.name}" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert f"(farms/{page.name})" in PAGE
    text = page.read_text(encoding="utf-8")
    assert "## Set up" in text and "never run" in text


@pytest.mark.parametrize(
    "wrong", [{"name": "a", "kind": "firebas"}, {"name": "a", "kind": "aws"}, {"name": "a", "kind": "local", "x": 1}]
)
def test_the_schema_refuses_what_cannot_be_read(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"apiVersion": "windtunnel/v1", "farms": [wrong]}, SCHEMA)
