"""Numbers that judgments depend on are in the room of thresholds, and say where they come from."""

from __future__ import annotations

import ast
from pathlib import Path

from thresholds_table import table, threshold_modules

import windtunnel.diagnosis
from windtunnel.diagnosis.thresholds.threshold import thresholds_of

ROOT = Path(windtunnel.diagnosis.__path__[0])
PAGE = Path(__file__).parents[3] / "docs" / "thresholds.md"
# Rooms whose numbers are all in `thresholds`.
DONE = ("rules",)


def numbers_of(path: Path) -> list[str]:
    """Module-level constants of a file whose value holds a number."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for part in ast.walk(node.value)
        if isinstance(part, ast.Constant) and type(part.value) in (int, float)
    ]


def floats_of(path: Path) -> list[str]:
    """Float literals of a file but 0, 1 and 2, wherever they stand."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and type(node.value) is float and node.value not in (0.0, 1.0, 2.0)
    ]


def test_no_other_module_defines_a_threshold() -> None:
    files = [path for room in DONE for path in (ROOT / room).rglob("*.py")]
    assert files
    assert [one for path in files for one in numbers_of(path)] == []


def test_a_number_outside_is_found(tmp_path: Path) -> None:
    path = ROOT / "thresholds" / "rule_thresholds.py"
    assert len(numbers_of(path)) >= 25


def test_every_constant_of_the_room_says_what_it_is() -> None:
    for module in threshold_modules():
        assert module.__file__ is not None
        noted = {name: note for name, _, note in thresholds_of(module)}
        assigned = [
            node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else "not annotated"
            for node in ast.parse(Path(module.__file__).read_text()).body
            if isinstance(node, ast.Assign | ast.AnnAssign)
        ]
        assert assigned == list(noted)
        for note in noted.values():
            assert note.unit and note.meaning.endswith(".") and note.record.endswith(".")


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == table(), "run: python tools/thresholds_table.py > docs/thresholds.md"
