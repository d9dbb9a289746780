"""tools/docstrings finds public functions whose docstrings lack a section."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import docstring_check
import pytest

ROOT = Path(__file__).parents[3]
COMPLETE = '''"""A module."""


def scaled(values: list[float], factor: float) -> list[float]:
    """Multiplies values.

    Args:
        values: any number.
        factor: what to multiply by.

    Returns:
        The products, in the same order.

    Raises:
        ValueError: if the factor is 0.
    """
    if factor == 0:
        raise ValueError(factor)
    return [factor * value for value in values]


def now() -> float:
    """The time in seconds."""
    return _none(0.0)


def _none(value: float) -> float:
    return value
'''


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in the repository, since the tools take their settings from there."""
    path = ROOT / "tests" / f"docstrings_{tmp_path.name}"
    path.mkdir()
    yield path
    shutil.rmtree(path)


def codes(folder: Path, text: str) -> set[str]:
    file = folder / "module.py"
    file.write_text(text)
    return {one.code for one in docstring_check.check([str(file)])}


def test_a_complete_docstring_has_no_findings(folder: Path) -> None:
    assert codes(folder, COMPLETE) == set()


PORT = '''"""A module."""


class MemoryStore:
    """A store."""

    def read(self, name: str) -> str:
        """Implements `Store.read`."""
        if not name:
            raise ValueError(name)
        return name
'''


def test_a_method_may_refer_to_the_port_that_it_implements(folder: Path) -> None:
    assert codes(folder, PORT) == set()
    assert codes(folder, PORT.replace("Implements `Store.read`", "Reads")) == {"DOC103", "DOC201", "DOC501"}


def test_a_question_says_in_its_summary_what_is_returned(folder: Path) -> None:
    text = COMPLETE.replace("    Returns:\n        The products, in the same order.\n\n", "")
    assert codes(folder, text.replace("Multiplies values.", "Whether values can be multiplied.")) == set()


COMMAND = '''"""A module."""

import click


@click.command()
@click.argument("model")
def convert(model: str) -> int:
    """Converts MODEL.

    \\b
    windtunnel convert model.keras
    """
    if not model:
        raise click.UsageError(model)
    return 0
'''


def test_the_docstring_of_a_command_is_its_help_text(folder: Path) -> None:
    assert codes(folder, COMMAND) == set()
    assert codes(folder, COMMAND.replace("@click.command()\n", "")) == {"DOC103", "DOC201", "DOC501", "D301"}


def test_an_exception_that_a_function_makes_has_no_class_to_name(folder: Path) -> None:
    text = COMPLETE.replace("    raise ValueError(factor)", "    raise _refused(factor)")
    assert codes(folder, text.replace("ValueError", "OverflowError")) == set()


@pytest.mark.parametrize(
    ("lacking", "code"),
    [
        ("        factor: what to multiply by.\n", "DOC103"),
        ("    Returns:\n        The products, in the same order.\n\n", "DOC201"),
        ("\n    Raises:\n        ValueError: if the factor is 0.\n", "DOC501"),
        ('    """The time in seconds."""\n', "D103"),
        ("Multiplies values.", "D415"),
    ],
)
def test_what_is_lacking_is_found(folder: Path, lacking: str, code: str) -> None:
    text = COMPLETE.replace(lacking, lacking.rstrip(".") if code == "D415" else "")
    assert text != COMPLETE and code in codes(folder, text)


def test_a_finding_names_the_place_and_the_argument(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "module.py"
    file.write_text(COMPLETE.replace("        factor: what to multiply by.\n", ""))
    assert docstring_check.main([str(file)]) == 1
    shown = capsys.readouterr().out
    assert f"tests/{folder.name}/module.py:4: DOC103" in shown and "factor: float" in shown


@pytest.mark.heavy
def test_the_clean_paths_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert docstring_check.main([]) == 0, capsys.readouterr().out
    assert docstring_check.clean()
