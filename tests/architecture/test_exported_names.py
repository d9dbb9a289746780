"""The names that packages export are pinned: those who import them rely on them."""

from __future__ import annotations

import importlib
from pathlib import Path

import exported_names
import pytest

STORED = Path(__file__).parents[1] / "data/exported_names.txt"
PACKAGES = {name: path for source in exported_names.sources() for name, path in exported_names.packages(source).items()}
EXPORTING = [name for name, path in PACKAGES.items() if exported_names.listed(path) is not None]


def test_the_exported_names_are_the_stored_ones() -> None:
    now = exported_names.render()
    changed = set(STORED.read_text(encoding="utf-8").splitlines()) ^ set(now.splitlines())
    assert STORED.read_text(encoding="utf-8") == now, (
        f"exported names changed: {sorted(map(str.strip, changed))}; if that is meant, run "
        "python tools/exported_names.py > tests/data/exported_names.txt"
    )


def test_every_member_is_looked_at() -> None:
    roots = {name.split(".")[1] for name in PACKAGES}
    assert {"bus", "service", "diagnosis", "cli", "client", "converter", "log_parser", "metrics_store"} <= roots
    assert len(EXPORTING) > 15 and len(PACKAGES) > 60


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_that_binds_public_names_lists_them(package: str) -> None:
    path = PACKAGES[package]
    assert exported_names.bound(path) == sorted(exported_names.listed(path) or []), f"set __all__ in {path}"


@pytest.mark.parametrize("package", EXPORTING)
def test_every_listed_name_is_there(package: str) -> None:
    names = exported_names.listed(PACKAGES[package])
    assert names and len(names) == len(set(names))
    module = importlib.import_module(package)
    assert [name for name in names if not hasattr(module, name)] == []


def test_what_a_module_exports(tmp_path: Path) -> None:
    path = tmp_path / "windtunnel" / "a" / "__init__.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from typing import TYPE_CHECKING, Any\nimport json\n"
        "from windtunnel.a.one import One, two as Two\nfrom windtunnel.a import _hidden\n"
        "if TYPE_CHECKING:\n    from windtunnel.a.three import Three\n"
        "LIMIT = 3\nname: str = ''\n_own = 1\n__all__ = ['One', 'Two']\ndef run(): ...\nclass Kept: ...\n"
    )
    assert exported_names.packages(tmp_path) == {"windtunnel.a": path}
    assert exported_names.listed(path) == ["One", "Two"]
    assert exported_names.bound(path) == ["Kept", "LIMIT", "One", "Three", "Two", "name", "run"]
