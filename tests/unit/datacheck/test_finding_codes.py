"""Every code of a finding is one constant, and is described."""

from __future__ import annotations

import re
from pathlib import Path

from windtunnel.datacheck import findings

ROOT = Path(__file__).parents[3]
CODES = {value for name, value in vars(findings).items() if name.isupper() and isinstance(value, str)}


def test_the_documentation_describes_all_codes_and_no_others() -> None:
    rows = [line for line in (ROOT / "docs/findings.md").read_text().splitlines() if line.startswith("| `")]
    described = {code for row in rows for code in re.findall(r"`([a-z_0-9]+\.[a-z_0-9]+)`", row.split("|")[1])}
    assert described == CODES


def test_no_code_is_written_a_second_time() -> None:
    sources = [
        file for place in ("services", "diagnosis", "shared", "cli", "sdk") for file in (ROOT / place).rglob("*.py")
    ]
    assert len(sources) > 100
    again = {
        str(file.relative_to(ROOT)): found
        for file in sources
        if ".venv" not in file.parts and file != Path(findings.__file__).resolve()
        if (found := sorted(code for code in CODES if f'"{code}"' in file.read_text()))
    }
    assert again == {}


def test_findings_are_made_with_a_constant() -> None:
    literal = re.compile(r'\bFinding\(\s*f?"')
    made = [file for file in (ROOT / "services").rglob("*.py") if literal.search(file.read_text())]
    made += [file for file in (ROOT / "shared").rglob("*.py") if literal.search(file.read_text())]
    # `_Finding` of the layer comparison is a cause, not a finding.
    assert made == []
