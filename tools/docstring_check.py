"""Checks that docstrings of public functions say Args, Returns and Raises, in Google's form.

A function without parameters may say in its summary alone what it returns, and so may one that answers a question
("Whether ..."). A method whose docstring begins with "Implements `Port.method`" has its sections there. The docstring
of a command or a group of commands is its --help text, which describes the options itself. Two tools share the work.
pydoclint compares a docstring with the signature ([tool.pydoclint] in pyproject.toml). ruff checks its form (D), and
that it names the exceptions that the function itself raises (DOC501).
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tools/docstrings.toml"
# Where docstrings are counted.
COUNTED = ("shared/src", "diagnosis/src", "sdk/python/client/src", "sdk/python/monitor/src", "services", "cli/src")

# D105, D107: special methods need no docstring, and the class says what __init__ takes. D403: nRMSE stays nRMSE.
_RUFF = ("ruff", "check", "--preview", "--select", "D,DOC501", "--ignore", "D105,D107,D403", "--output-format", "json")
_PYDOCLINT = ("pydoclint", "--quiet", "--config", str(ROOT / "pyproject.toml"))
_ASIDE = re.compile(r" \(Or could be .*?notes-on-doc103 \)\.")
# A section Returns or Yields is missing.
_RESULTS = ("DOC201", "DOC402")
# `raise refused(...)` calls a function that makes the exception; ruff cannot know its class.
_MADE = re.compile(r"Raised exception `_*[a-z]\w*` missing")
# A docstring that is a formula says neither what it takes nor what it gives, and is not a sentence.
_OF_FORMULAS = ("DOC103", "DOC201", "D415")
# A method that refers to the port it implements has its sections there.
_IMPLEMENTS = re.compile(r"Implements `\w+\.\w+`")
# Decorators of click: `@click.command()`, `@plans.group()`.
_COMMANDS = ("command", "group")
# click reads `\b` in a help text as a paragraph to leave as it is, so these are not raw strings.
_OF_HELP = "D301"
_LINE = re.compile(r"\s+(\d+): (DOC\d+): (.*)")


@dataclass(frozen=True, order=True)
class Finding:
    """What is wrong with one docstring."""

    path: str
    line: int
    code: str
    message: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the check.

    Args:
        arguments: of the command line; those of the process if absent.

    Returns:
        The exit code: 0 if nothing was found, 1 if something was.
    """
    parser = argparse.ArgumentParser(prog="tools/docstrings", description=__doc__)
    parser.add_argument("paths", nargs="*", help=f"files and folders; default: the `clean` list of {LIST.name}")
    parser.add_argument("--count", action="store_true", help=f"print findings per folder; default: of {COUNTED}")
    options = parser.parse_args(arguments)
    paths = options.paths or (COUNTED if options.count else clean())
    found = check([str(Path(path).resolve()) for path in options.paths] or [str(ROOT / path) for path in paths])
    if options.count:
        print(_counts(found))
        return 0
    for one in found:
        print(f"{one.path}:{one.line}: {one.code} {one.message}")
    return 1 if found else 0


def clean() -> list[str]:
    """The paths that must have no findings, relative to the repository."""
    return list(tomllib.loads(LIST.read_text(encoding="utf-8"))["clean"])


def check(paths: Sequence[str]) -> list[Finding]:
    """What is wrong with the docstrings below some paths.

    Args:
        paths: absolute paths of files and folders.

    Returns:
        The findings, by path and line.

    Raises:
        RuntimeError: if one of the tools could not run.
    """
    found = sorted(set(_by_pydoclint(paths)) | set(_by_ruff(paths)))
    formulas = set(tomllib.loads(LIST.read_text(encoding="utf-8"))["formulas"])
    found = [one for one in found if not (one.path in formulas and one.code in _OF_FORMULAS)]
    described = {path: _described_elsewhere(ROOT / path) for path in {one.path for one in found}}
    return [one for one in found if not (_is_of_sections(one.code) and one.line in described[one.path])]


def _is_of_sections(code: str) -> bool:
    return code.startswith("DOC") or code == _OF_HELP


def _by_pydoclint(paths: Sequence[str]) -> list[Finding]:
    output = _run([*_PYDOCLINT, *paths])
    found, path = [], ""
    for row in output.splitlines():
        entry = _LINE.fullmatch(row)
        # DOC103 says the same as DOC101, with the names.
        if entry and entry[2] != "DOC101":
            found.append(Finding(path, int(entry[1]), entry[2], _ASIDE.sub("", entry[3])))
        elif row.strip() and not entry:
            path = _relative(row.strip())
    plain = {path: _summary_is_enough(ROOT / path) for path in {one.path for one in found}}
    return [one for one in found if not (one.code in _RESULTS and one.line in plain[one.path])]


def _summary_is_enough(path: Path) -> set[int]:
    """The lines of functions that take nothing but self or cls, or that answer a question."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            taken = node.args
            names = {one.arg for one in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs)} - {"self", "cls"}
            answers = (ast.get_docstring(node) or "").startswith("Whether ")
            if answers or not (names or taken.vararg or taken.kwarg):
                found.add(node.lineno)
    return found


def _described_elsewhere(path: Path) -> set[int]:
    """The lines of commands and of methods that refer to the port they implement, with their docstrings."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            _IMPLEMENTS.match(ast.get_docstring(node) or "") or any(map(_makes_a_command, node.decorator_list))
        ):
            found.update(range(node.lineno, (node.body[0].end_lineno or node.lineno) + 1))
    return found


def _makes_a_command(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Attribute) and called.attr in _COMMANDS


def _by_ruff(paths: Sequence[str]) -> list[Finding]:
    entries = json.loads(_run([*_RUFF, *paths]) or "[]")
    return [
        Finding(_relative(one["filename"]), one["location"]["row"], one["code"], one["message"])
        for one in entries
        if not _MADE.match(one["message"])
    ]


def _run(command: Sequence[str]) -> str:
    """The output of a tool, which ends with 1 if it found something.

    Raises:
        RuntimeError: if it ends with another code.
    """
    folder = Path(sys.executable).parent
    ran = subprocess.run([folder / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode not in (0, 1):
        raise RuntimeError(f"{command[0]} could not run: {ran.stderr.strip() or ran.stdout.strip()}")
    return ran.stdout or ran.stderr


def _relative(path: str) -> str:
    return Path(path).resolve().relative_to(ROOT).as_posix()


def _counts(found: Sequence[Finding]) -> str:
    counts = Counter(str(Path(one.path).parent) for one in found)
    rows = [f"{count:6}  {folder}" for folder, count in counts.most_common()]
    return "\n".join([*rows, f"{sum(counts.values()):6}  all"])


if __name__ == "__main__":
    sys.exit(main())
