"""All packages have one version: that of the newest section of the changelog."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from windtunnel.cli.main import cli

ROOT = Path(__file__).parents[2]
PROJECTS = sorted([ROOT / "pyproject.toml", *ROOT.glob("*/pyproject.toml"), *ROOT.glob("*/*/pyproject.toml")])
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
HEADINGS: list[str] = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def newest() -> str:
    return HEADINGS[1].split(" - ")[0]


def test_the_changelog_has_unreleased_first_and_versions_in_order() -> None:
    assert HEADINGS[0] == "Unreleased"
    for heading in HEADINGS[1:]:
        assert re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d{2}-\d{2}", heading), heading
    versions = [tuple(map(int, heading.split(" - ")[0].split("."))) for heading in HEADINGS[1:]]
    dates = [heading.split(" - ")[1] for heading in HEADINGS[1:]]
    assert versions == sorted(set(versions), reverse=True) and dates == sorted(dates, reverse=True)
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE)) <= KINDS


def test_there_are_all_projects() -> None:
    assert len(PROJECTS) >= 11


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_every_package_has_the_newest_version(project: Path) -> None:
    assert tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"] == newest()


def test_the_lock_has_the_same_versions() -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    own = {one["name"]: one["version"] for one in locked if one["name"].startswith("windtunnel")}
    assert len(own) >= len(PROJECTS) - 1
    assert set(own.values()) == {newest()}, own


def test_the_command_line_shows_the_version() -> None:
    shown = CliRunner().invoke(cli, ["--version"])
    assert shown.output == f"windtunnel, version {newest()}\n", "run: uv sync (the installed packages are older)"
    assert importlib.metadata.version("windtunnel-cli") == newest()
