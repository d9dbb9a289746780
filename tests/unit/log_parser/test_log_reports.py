"""Logs in the forms of public reports: everything that a person reads in each, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from windtunnel import schemas
from windtunnel.log_parser import parse_log

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "reports.yaml").read_text())
SCHEMA = schemas.load("log")


def without_unknown(value: Any) -> Any:
    """A result without what is null, false or empty."""
    if isinstance(value, dict):
        kept = {key: without_unknown(item) for key, item in value.items()}
        return {
            key: item for key, item in kept.items() if item is not None and item is not False and item not in ([], {})
        }
    if isinstance(value, list):
        return [without_unknown(item) for item in value]
    return value


def read(text: str) -> dict[str, Any]:
    document = parse_log(text).to_json()
    jsonschema.validate(document, SCHEMA)
    return document


def test_there_are_enough_reports() -> None:
    assert len(CASES) >= 25
    assert len({case["name"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_figure_of_a_report_and_nothing_else(case: dict[str, Any]) -> None:
    document = read(case["log"])
    assert [without_unknown(run) for run in document["runs"]] == case["runs"]
    assert document["unrecognized_lines"] == case.get("unrecognized", 0)
