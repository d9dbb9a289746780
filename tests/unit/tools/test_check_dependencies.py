"""tools/check_dependencies.py finds what is imported and not declared, and what is declared and not imported."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
from check_dependencies import main, members_of, problems

ROOT = Path(__file__).parents[3]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def member(root: Path, folder: str, name: str, dependencies: list[str], **sources: str) -> None:
    listed = ", ".join(f'"{one}"' for one in dependencies)
    write(
        root / folder / "pyproject.toml",
        f'[project]\nname = "{name}"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{listed}]\n',
    )
    for package, text in sources.items():
        write(root / folder / "src/windtunnel" / package / "__init__.py", text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace of two members that declare what they import."""
    write(tmp_path / "pyproject.toml", '[tool.uv.workspace]\nmembers = ["shared", "services/*"]\n')
    member(tmp_path, "shared", "windtunnel-shared", ["numpy"], errors="import numpy\n")
    member(tmp_path, "services/one", "windtunnel-one", ["windtunnel-shared"], one="import windtunnel.errors\n")
    return tmp_path


@pytest.mark.heavy
def test_a_workspace_that_declares_what_it_imports(root: Path) -> None:
    assert problems(root) == []
    assert main([str(root)]) == 0


CASES = [
    ("a package of others that another member declares", "import windtunnel.errors, numpy", [], "'numpy' imported"),
    ("a package of others that nobody imports", "import windtunnel.errors", ["numpy"], "'numpy' defined"),
    (
        "a member that is not declared",
        "from windtunnel import errors, two",
        [],
        "windtunnel-one imports windtunnel-two",
    ),
    (
        "inside a function",
        "from windtunnel import errors\ndef f():\n    from windtunnel.two import g",
        [],
        "windtunnel-one imports windtunnel-two",
    ),
    (
        "a member that is not imported",
        "import windtunnel.errors",
        ["windtunnel-two"],
        "one/pyproject.toml declares windtunnel-two",
    ),
    (
        "a package that no member has",
        "import windtunnel.errors, windtunnel.away",
        [],
        "windtunnel.away, which no member",
    ),
]


@pytest.mark.heavy
@pytest.mark.parametrize(("source", "more", "problem"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_problem_is_found(root: Path, source: str, more: list[str], problem: str) -> None:
    member(root, "services/two", "windtunnel-two", [], two="")
    member(root, "services/one", "windtunnel-one", ["windtunnel-shared[tflite]>=0.1", *more], one=f"{source}\n")
    (found,) = problems(root)
    assert problem in found
    assert main([str(root)]) == 1


@pytest.mark.heavy
def test_this_workspace_declares_what_it_imports() -> None:
    assert problems(ROOT) == []
    assert len(members_of(ROOT)) >= 10


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["urllib3", "flatbuffers", "windtunnel-shared"])
def test_a_declaration_that_is_taken_out_is_missed(tmp_path: Path, name: str) -> None:
    """The check reads the real files: without one declaration it fails."""
    for one in members_of(ROOT):
        target = tmp_path / one.folder.relative_to(ROOT)
        shutil.copytree(one.folder / "src", target / "src", ignore=shutil.ignore_patterns("__pycache__"))
        lines = (one.folder / "pyproject.toml").read_text().splitlines()
        (target / "pyproject.toml").write_text("\n".join(line for line in lines if not line.startswith(f'    "{name}')))
        assert tomllib.loads((target / "pyproject.toml").read_text())["project"]["name"] == one.name
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    found = problems(tmp_path)
    assert found and all(name in problem for problem in found)
