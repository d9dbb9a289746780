"""The committed JSON Schemas are what the models give now."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools/generate_schemas.py"))
TEXTS: dict[str, str] = TOOL["texts"]()


@pytest.mark.parametrize("name", TEXTS)
def test_it_is_up_to_date(name: str) -> None:
    committed = (ROOT / "shared/src/windtunnel/schemas" / name).read_text(encoding="utf-8")
    assert committed == TEXTS[name], "python tools/generate_schemas.py"


def test_the_check_of_generated_files_writes_them_too(tmp_path: Path) -> None:
    TOOL["main"](tmp_path)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == TEXTS
    assert "tools/generate_schemas.py" in (ROOT / "tools/check-generated").read_text()
