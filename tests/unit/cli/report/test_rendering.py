"""Templates of pages: what they write for a value, and that they reach those who install the package."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from jinja2 import UndefinedError
from markupsafe import Markup

from windtunnel.cli.report.html import rendering
from windtunnel.cli.report.html.rendering import render

CLI = Path(__file__).parents[4] / "cli"
TEMPLATES = CLI / "src/windtunnel/cli/report/html/templates"


def _macro(call: str, **values: object) -> str:
    source = '{% import "parts.html.j2" as parts %}' + call
    return rendering._environment().from_string(source).render(values)


def test_text_is_escaped_in_content_and_attributes_and_markup_is_not() -> None:
    found = _macro(
        '<p title="{{ text }}">{{ text }}{{ markup }}{{ nothing }}</p>', text=HOSTILE, markup=MARKUP, nothing=None
    )
    escaped = "&#34;&gt;&lt;b&gt;&amp;\\x1b\\u202e\\x0a"
    assert found == f'<p title="{escaped}">{escaped}<i>x</i></p>'


HOSTILE = '"><b>&\x1b\u202e\n'
MARKUP = Markup("<i>x</i>")


@pytest.mark.parametrize("call", ["parts.sub(text)", "parts.key(text)", "parts.fact_list([(text, text)])"])
def test_macros_pass_text_on_as_text(call: str) -> None:
    found = _macro(f"{{{{ {call} }}}}", text=HOSTILE)
    assert "<b>" not in found and "\x1b" not in found and "&lt;b&gt;" in found


def test_a_section_with_nothing_in_it_is_left_out() -> None:
    source = '{% call parts.section("Title") %} {{ content }} {% endcall %}'
    assert _macro(source, content=Markup()) == ""
    assert "<h2>Title</h2>" in _macro(source, content="x")


def test_a_name_that_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="chart"):
        render("drift_section.html.j2")


def test_no_template_switches_escaping_off() -> None:
    for path in TEMPLATES.glob("*.j2"):
        text = path.read_text()
        assert not any(word in text for word in ("|safe", "| safe", "autoescape", "Markup")), path.name


def test_the_wheel_has_every_template_and_the_style_sheet(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(CLI)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
    wanted = {f"windtunnel/cli/report/html/templates/{path.name}" for path in TEMPLATES.iterdir()}
    assert len(wanted) >= 10
    assert wanted <= names


@pytest.mark.heavy
def test_a_command_that_writes_no_page_loads_no_templates() -> None:
    program = (
        "import sys, windtunnel.cli.main\n"
        "from windtunnel.cli.report.text import diagnosis_text, report_text\n"
        "print([name for name in ('jinja2', 'markupsafe') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
