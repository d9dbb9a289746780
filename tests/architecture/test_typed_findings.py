"""Findings are typed: their JSON is written and read in the findings' room, and nobody else asks it by keys."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPTHS = ("*", "*/*", "*/*/*")
SOURCES = [path for depth in DEPTHS for path in sorted(ROOT.glob(f"{depth}/src")) if (path / "windtunnel").is_dir()]
ROOM = "windtunnel/diagnosis/findings/"

# Who reads the JSON of evidence by keys all the same, and why.
EXCEPTIONS = {
    "windtunnel/cli/local/stored_runs.py": "reads a stored run, which holds what was noticed of the samples as JSON",
    "windtunnel/cli/report/finding_words.py": "words on what was noticed of samples, in documents of any version",
    "windtunnel/cli/report/html/diagnosis_parts.py": "a page lists all fields of a cause, also of later versions",
    "windtunnel/datacheck/check.py": "what is noticed of samples is not a cause of a diagnosis",
}


def asks(text: str) -> Iterator[int]:
    """The lines that ask evidence by keys, or take it out of a document."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Subscript(slice=ast.Constant(value="evidence"), ctx=ast.Load()):
                yield node.lineno
            case ast.Subscript(value=ast.Attribute(attr="evidence")):
                yield node.lineno
            case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value="evidence"), *_]):
                yield node.lineno
            case ast.Call(func=ast.Name(id="part"), args=[_, ast.Constant(value="evidence")]):
                yield node.lineno
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="evidence"))):
                yield node.lineno
            case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[ast.Attribute(attr="evidence")]):
                yield node.lineno


def found() -> dict[str, list[int]]:
    files = {str(path.relative_to(source)): path for source in SOURCES for path in sorted(source.rglob("*.py"))}
    assert len(files) > 400
    lines = {name: list(asks(path.read_text(encoding="utf-8"))) for name, path in files.items()}
    own = (ROOM, "windtunnel/datacheck/findings.py")
    return {name: numbers for name, numbers in lines.items() if numbers and not name.startswith(own)}


def test_nobody_asks_evidence_by_keys() -> None:
    assert {name: numbers for name, numbers in found().items() if name not in EXCEPTIONS} == {}


def test_every_exception_is_still_one() -> None:
    assert found().keys() >= EXCEPTIONS.keys()


@pytest.mark.parametrize(
    "line",
    [
        "x = cause.evidence['kind']",
        "x = cause['evidence']",
        "x = cause['evidence']['kind']",
        "x = cause.get('evidence')",
        "x = cause.get('evidence', {}).get('kind')",
        "x = part(cause, 'evidence')",
        "x = cause.evidence.get('kind')",
        "x = cause.evidence.items()",
        "if 'kind' in cause.evidence: pass",
        "if 'kind' not in cause.evidence: pass",
    ],
)
def test_these_ask_by_keys(line: str) -> None:
    assert set(asks(line)) == {1}


@pytest.mark.parametrize(
    "line", ["x = {'evidence': cause.evidence}", "x['evidence'] = cause.evidence", "x = finding.kind", "f(evidence=e)"]
)
def test_these_write_json_or_ask_a_type(line: str) -> None:
    assert list(asks(line)) == []
