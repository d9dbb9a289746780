"""Each import contract bites: an import that it forbids, planted in a copy of the sources, breaks it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPTHS = ("*", "*/*", "*/*/*")
SOURCES = [path for depth in DEPTHS for path in sorted(ROOT.glob(f"{depth}/src")) if (path / "windtunnel").is_dir()]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

# For each contract, by the beginning of its name: a module, and the import in it that the contract forbids.
PLANTED = {
    "Members": ("bus/port.py", "windtunnel.service.runtime"),
    "Metrics store": ("metrics_store/use_cases/complete_runs.py", "windtunnel.metrics_store.adapters.repository"),
    "Log parser: domain": ("log_parser/domain/log.py", "windtunnel.log_parser.use_cases.parse_log"),
    "Log parser: what a log says": ("log_parser/domain/lines/read_lines.py", "windtunnel.log_parser.domain.rules.rule"),
    "Converter": ("converter/use_cases/convert_model.py", "windtunnel.converter.adapters.load_original"),
    "Farm dispatcher": (
        "farm_dispatcher/use_cases/run_cells.py",
        "windtunnel.farm_dispatcher.adapters.host.local_farm",
    ),
    "App builder": ("app_builder/domain/base_apps.py", "windtunnel.app_builder.use_cases.build_app"),
    "Layer diff and quantizer": ("quantizer/service.py", "windtunnel.quantizer.__main__"),
    "Domain rules": ("metrics_store/domain/gates.py", "windtunnel.bus.events"),
    "The diagnosis knows": ("diagnosis/numerics/metrics.py", "grpc"),
    "Use cases know": ("metrics_store/use_cases/build_report.py", "sqlalchemy"),
    "Rooms of the diagnosis": ("diagnosis/graph/constants.py", "windtunnel.diagnosis.rules.verdict"),
    "Artifacts": ("artifacts/stores/port.py", "windtunnel.artifacts.sources.source_file"),
    "The bus": ("bus/subjects.py", "windtunnel.bus.worker"),
    "Rooms of the CLI": ("cli/io/__init__.py", "windtunnel.cli.report"),
    "Commands on the server": ("cli/commands/options.py", "windtunnel.cli.commands.models"),
    "Pages and texts": ("cli/report/text/__init__.py", "windtunnel.cli.report.html"),
}
# Outside of `sys.path` there may be other checkouts, which the same namespace must not take in.
_LINT = "import sys; sys.path[:] = [sys.argv.pop(1), *(p for p in sys.path if not p.endswith('/src'))]; " + (
    "from importlinter.cli import lint_imports_command as run; run()"
)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All sources in one tree, with pyproject.toml next to them."""
    root = tmp_path_factory.mktemp("copy")
    for source in SOURCES:
        shutil.copytree(source / "windtunnel", root / "src/windtunnel", dirs_exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def lint(root: Path) -> str:
    """What lint-imports says of a copy."""
    command = [sys.executable, "-c", _LINT, str(root / "src"), "--no-cache"]
    run = subprocess.run(
        command, cwd=root, capture_output=True, text=True, env={"COLUMNS": "1000", "PATH": "/usr/bin:/bin"}, check=False
    )
    return run.stdout + run.stderr


@pytest.fixture(scope="module")
def planted(copied: Path) -> Iterator[str]:
    """What lint-imports says of a copy with all the planted imports."""
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken" in lint(copied), "the copy is as the sources are"
    for name, imported in PLANTED.values():
        path = copied / "src/windtunnel" / name
        path.write_text(f"{path.read_text()}\n\ndef planted() -> None:\n    import {imported}\n")
    yield lint(copied)


def test_every_contract_has_a_planted_import() -> None:
    assert len(PLANTED) == len(CONTRACTS)
    for contract in CONTRACTS:
        assert sum(contract["name"].startswith(prefix) for prefix in PLANTED) == 1, contract["name"]


@pytest.mark.parametrize("prefix", PLANTED)
def test_a_contract_bites(planted: str, prefix: str) -> None:
    name, imported = PLANTED[prefix]
    importer = f"windtunnel.{name.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}"
    (contract,) = (one["name"] for one in CONTRACTS if one["name"].startswith(prefix))
    assert re.search(rf"^{re.escape(contract)} BROKEN", planted, re.MULTILINE), planted
    explained = planted[planted.rindex(f"\n{contract}\n") :]
    ends = [at for one in CONTRACTS if one["name"] != contract and (at := explained.find(f"\n{one['name']}\n")) > 0]
    explained = explained[: min(ends, default=len(explained))]
    assert re.search(rf"{re.escape(importer)} -> {re.escape(imported)}\b", explained), explained


def test_a_module_that_no_layer_has_breaks_its_contract(copied: Path, planted: str) -> None:
    (copied / "src/windtunnel/converter/stray.py").write_text("")
    (copied / "src/windtunnel/stray.py").write_text("")
    said = lint(copied)
    assert said.count("stray") >= 2 and "exhaustive" not in planted, said
