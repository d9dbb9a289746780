"""The guide "Add a farm" in CONTRIBUTING.md, followed step by step on a copy of the farm dispatcher."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "services/farm_dispatcher/src/windtunnel/farm_dispatcher"
ADAPTER = '''
"""The farm `shelf`."""

import dataclasses
from contextlib import asynccontextmanager

from windtunnel.farm_dispatcher.adapters.fake_farm import FAKE_DEVICE, FakeFarm


@asynccontextmanager
async def open_farm(settings, host):
    device = dataclasses.replace(FAKE_DEVICE, farm=settings.name, name=settings.label, platform="android")
    yield FakeFarm(offered=(device,), settings=settings)
'''


def guide() -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return text.partition("## Add a farm")[2].partition("\n## ")[0]


def test_the_guide_has_five_steps_and_names_places_that_exist() -> None:
    assert re.findall(r"^(\d)\.", guide(), re.MULTILINE) == ["1", "2", "3", "4", "5"]
    words = re.findall(r"`((?:domain|adapters|docs|tests|tools)/[\w/.]+|mkdocs\.yml|pyproject\.toml)`", guide())
    # A place with <name> is one that is made.
    missing = [word for word in words if not (SOURCE / word).exists() and not (ROOT / word).exists()]
    assert len(words) >= 8 and missing == []


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, (path.name, before)
    path.write_text(text.replace(before, after), encoding="utf-8")


@pytest.mark.heavy
def test_who_follows_the_guide_has_a_farm(tmp_path: Path) -> None:
    package = tmp_path / "source/windtunnel/farm_dispatcher"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    # Step 1: its settings, as a value and as a document.
    settings = package / "domain/farm_settings.py"
    fields = '\n\n@dataclass(frozen=True, kw_only=True)\nclass ShelfSettings(FarmSettings):\n    """A shelf."""\n\n'
    fields += '    kind: ClassVar[str] = "shelf"\n    label: str = "thing"\n'
    settings.write_text(settings.read_text(encoding="utf-8") + fields, encoding="utf-8")
    reading = package / "adapters/farms_file/read_farms.py"
    edit(reading, "DdpSettings, AwsSettings)", "DdpSettings, AwsSettings, ShelfSettings)")
    edit(reading, "    PollSeconds,\n)", "    PollSeconds,\n    ShelfSettings,\n)")
    document = package / "adapters/farms_file/farms_document.py"
    edit(document, '"ddp", "aws")', '"ddp", "aws", "shelf")')
    model = '\n\nclass ShelfDocument(FarmDocument):\n    """A shelf."""\n\n    kind: Literal["shelf"]\n'
    model += "    label: Text | None = Field(None)\n\n\ndef _kind("
    edit(document, "\n\ndef _kind(", model)
    edit(document, '    | Annotated[AwsDocument, Tag("aws")]',
         '    | Annotated[AwsDocument, Tag("aws")]\n    | Annotated[ShelfDocument, Tag("shelf")]')  # fmt: skip
    # Step 2: the room.
    room = package / "adapters/shelf"
    room.mkdir()
    (room / "__init__.py").write_text('"""The farm `shelf`."""\n')
    (room / "shelf_farm.py").write_text(ADAPTER)
    # Step 3: the registry.
    registry = package / "adapters/farm_registry.py"
    entry = '    "shelf": _with_extra(f"{_ADAPTERS}.shelf.shelf_farm", "shelf"),\n'
    edit(registry, '    "local": local.open_farm,\n', f'    "local": local.open_farm,\n{entry}')

    farms = tmp_path / "farms.yaml"
    farms.write_text("apiVersion: windtunnel/v1\nfarms: [{name: attic, kind: shelf, label: box}]\n")
    done = subprocess.run(
        [sys.executable, "-m", "windtunnel.cli", "devices", "--farms", str(farms), "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "source"), "WINDTUNNEL_HOME": str(tmp_path / "home")},
    )
    assert done.returncode == 0, done.stderr
    assert [(one["farm"], one["device"]) for one in json.loads(done.stdout)] == [("attic", "box")]
