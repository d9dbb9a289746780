"""The house keeps its shape: what a new service or module must have, and what must not be."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from windtunnel.cli.home.supervisor import SERVICES

ROOT = Path(__file__).parents[2]
SOURCES = [
    ROOT / "shared/src",
    ROOT / "diagnosis/src",
    ROOT / "cli/src",
    ROOT / "sdk/python/client/src",
    ROOT / "sdk/python/monitor/src",
    *sorted(ROOT.glob("services/*/src")),
]
FOLDERS = sorted(path.parent.name for path in ROOT.glob("services/*/pyproject.toml"))
GENERATED = ROOT / "shared/src/windtunnel/v1"
MOST_LINES = 600


def load(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)


def contracts() -> dict[str, dict[str, Any]]:
    return {
        contract["name"]: contract for contract in load(ROOT / "pyproject.toml")["tool"]["importlinter"]["contracts"]
    }


def test_every_service_is_supervised() -> None:
    assert sorted(SERVICES) == FOLDERS
    assert len(FOLDERS) >= 7


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_windtunnel_is_a_namespace_package(source: Path) -> None:
    assert [path.name for path in source.iterdir() if path.is_dir() and path.name != "__pycache__"] == ["windtunnel"]
    assert not (source / "windtunnel" / "__init__.py").exists()
    for folder in (path for path in (source / "windtunnel").rglob("*") if path.is_dir()):
        if any(folder.glob("*.py")):
            assert (folder / "__init__.py").exists(), f"{folder} is not a package"


@pytest.mark.parametrize("service", FOLDERS)
class TestService:
    def test_it_has_what_every_service_has(self, service: str) -> None:
        folder = ROOT / "services" / service
        package = folder / "src/windtunnel" / service
        wanted = (folder / "README.md", *(package / f"{name}.py" for name in ("__init__", "__main__", "service")))
        assert [str(path.relative_to(ROOT)) for path in wanted if not path.exists()] == []
        assert (package / "domain.py").exists() or (package / "domain").is_dir() or is_thin(service)
        assert (ROOT / "proto/windtunnel/v1" / f"{service}.proto").exists()

    def test_its_package_has_its_name_and_depends_on_no_other_service(self, service: str) -> None:
        project = load(ROOT / "services" / service / "pyproject.toml")["project"]
        assert project["name"] == distribution(service)
        others = {distribution(other) for other in FOLDERS if other != service}
        assert others.isdisjoint(map(bare, project["dependencies"]))

    def test_up_installs_it(self, service: str) -> None:
        project = load(ROOT / "cli/pyproject.toml")["project"]
        needed = [*project["dependencies"], *project["optional-dependencies"]["up"]]
        assert distribution(service) in map(bare, needed)

    def test_it_is_under_the_import_contracts(self, service: str) -> None:
        module, found = f"windtunnel.{service}", contracts()
        inside = [one for one in found.values() if one["type"] == "layers" and module in one["containers"]]
        assert len(inside) == 1 and inside[0]["exhaustive"], "one contract has all layers of the service"
        if (ROOT / "services" / service / "src/windtunnel" / service / "domain").is_dir():
            assert f"{module}.domain" in found["Domain rules know no transport"]["source_modules"]

    def test_mypy_finds_it(self, service: str) -> None:
        assert f"services/{service}/src" in load(ROOT / "pyproject.toml")["tool"]["mypy"]["mypy_path"]


def is_thin(service: str) -> bool:
    """Whether the service only carries the diagnosis library: its rules are there."""
    return "windtunnel-diagnosis" in map(
        bare, load(ROOT / "services" / service / "pyproject.toml")["project"]["dependencies"]
    )


def distribution(service: str) -> str:
    return f"windtunnel-{service.replace('_', '-')}"


def bare(requirement: str) -> str:
    """The name in a requirement."""
    return requirement.split("[")[0].split(">")[0].split("=")[0].strip()


def test_no_file_grows_too_long() -> None:
    files = [path for source in SOURCES for path in source.rglob("*.py") if GENERATED not in path.parents]
    assert len(files) > 100
    long = {
        str(path.relative_to(ROOT)): count
        for path in files
        if (count := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert long == {}


def test_generated_code_is_current() -> None:
    folder = Path(sys.executable).parent
    if not (folder / "buf").exists() and shutil.which("buf") is None:
        pytest.skip("buf is not installed")
    checked = subprocess.run(
        [ROOT / "tools/check-generated"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{folder}:/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home())},
    )
    assert checked.returncode == 0, checked.stdout[-2000:] + checked.stderr


def test_imports_keep_to_the_contracts() -> None:
    checked = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout[-3000:] + checked.stderr


def test_every_package_says_its_license() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    for path in (ROOT / "pyproject.toml", *ROOT.glob("*/pyproject.toml"), *ROOT.glob("*/*/pyproject.toml")):
        assert tomllib.loads(path.read_text())["project"]["license"] == "Apache-2.0", path
    readme = (ROOT / "README.md").read_text()
    assert "[Apache-2.0](LICENSE)" in readme and "[SECURITY.md](SECURITY.md)" in readme
