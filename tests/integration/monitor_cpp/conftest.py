"""The driver, built in every way once per session."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cpp_monitor import BUILDS, App, build

_SOURCES = (Path(__file__).parent / "driver.cpp",)


@pytest.fixture(scope="session")
def apps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, App]:
    return {}


def _built(name: str, apps: dict[str, App], factory: pytest.TempPathFactory) -> App:
    if name not in apps:
        folder = factory.mktemp("monitor_cpp")
        folder.chmod(0o755)
        apps[name] = build(name, _SOURCES, folder / f"driver-{name}")
    return apps[name]


@pytest.fixture
def app(apps: dict[str, App], tmp_path_factory: pytest.TempPathFactory) -> App:
    return _built("gcc", apps, tmp_path_factory)


@pytest.fixture(params=list(BUILDS))
def any_app(request: pytest.FixtureRequest, apps: dict[str, App], tmp_path_factory: pytest.TempPathFactory) -> App:
    return _built(request.param, apps, tmp_path_factory)
