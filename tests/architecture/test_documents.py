"""Commands, plans, JSON and Python in the documents are true: they are read by what they are for."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from windtunnel.cli.main import cli
from windtunnel.plan import parse_plan_text

ROOT = Path(__file__).parents[2]
LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
PAGES = [ROOT / path for path in LISTED.splitlines() if not path.startswith("tests/")]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str) -> Iterator[str]:
    """The code blocks of a page, fenced or indented, without their indent."""
    rows: list[str] = []
    fenced = False
    blank = True
    for line in [*text.splitlines(), "end"]:
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        if fenced or (line.startswith("    ") and (blank or rows)) or (rows and not line.strip()):
            rows.append(line)
        elif rows:
            yield textwrap.dedent("\n".join(rows)).strip()
            rows = []
        blank = not line.strip()


def commands(text: str) -> Iterator[str]:
    """The command lines of a page that call windtunnel, without comments; continued lines are joined."""
    for block in blocks(text):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.search(r"(?:^|\s|=)(windtunnel (?![a-z-]+=).*)", line.split(" # ")[0])
            if found and not line.lstrip().startswith(("#", "kubectl", "{", '"', "FROM", "docker")):
                yield found[1].split("   ")[0].strip()


def problem(line: str) -> str:
    """Why a command line could not be called like this; empty if it could."""
    words = [word for word in shlex.split(line)[1:] if word not in ("&", "\\")]
    group: click.Command = cli
    while isinstance(group, click.Group) and words and not words[0].startswith("-"):
        names = words[0].split("|")
        context = click.Context(group)
        unknown = [name for name in names if group.get_command(context, name) is None]
        if unknown:
            return f"no command {unknown[0]!r}"
        found = group.get_command(context, names[0])
        assert found is not None
        group, words = found, words[1:]
        if words[:1] == ["|"]:
            return ""
    known = {name for one in group.get_params(click.Context(group)) for name in (*one.opts, *one.secondary_opts)}
    options = [word.split("=")[0] for word in words if word.startswith("-") and len(word) > 1]
    return next((f"no option {option!r}" for option in options if option not in known), "")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_documented_command_exists(page: Path) -> None:
    wrong = {line: why for line in commands(page.read_text(encoding="utf-8")) if (why := problem(line))}
    assert wrong == {}


def test_the_check_of_commands_sees_what_is_wrong() -> None:
    rows = ("windtunnel diff a b --sample x   # a comment", "windtunnel dif a", "A=b windtunnel layers log m --out x")
    text = "x\n\n" + "".join(f"    {row}\n" for row in rows)
    assert list(commands(text)) == [rows[0].split("   ")[0], rows[1], "windtunnel layers log m --out x"]
    assert [problem(line) for line in commands(text)] == ["no option '--sample'", "no command 'dif'", ""]
    assert sum(1 for _ in commands(README)) > 15


def test_the_plan_of_the_readme_is_a_plan() -> None:
    (text,) = [block for block in blocks(README) if block.startswith("apiVersion")]
    plan = parse_plan_text(text)
    assert len(plan.variants) == 5 and len(plan.devices) == 1
    assert yaml.safe_load(text)["gates"]["latency_ms"] == {"p95": 20}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_json_yaml_and_python_can_be_read(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.startswith("{"):
            json.loads(block)
        elif block.startswith(("from ", "import ")) and not block.splitlines()[0].endswith(";"):
            # Java imports end with a semicolon.
            ast.parse(block)
        elif block.startswith(("devices:", "apiVersion:")):
            assert isinstance(yaml.safe_load(block), dict)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_belongs_to_a_list_item_is_indented_by_four(page: Path) -> None:
    """The Markdown of the site needs four spaces, GitHub's only two: with fewer the site shows another list."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"^ {1,3}(?:[-*]|\d+\.) .*|(?<=\n\n) {1,3}\S.*", text, re.MULTILINE) == []
