"""The deployment files as tests read them."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from windtunnel.service.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy/grafana/windtunnel-latency.json"
RULES = ROOT / "deploy/prometheus/rules.yaml"

Resource = dict[str, Any]


def program(name: str, package: str) -> str:
    """Path of a program; skips the test if it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return found


def run(*command: str | Path) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def render(folder: str) -> list[Resource]:
    """What `kubectl kustomize` makes of a folder under deploy/k8s."""
    return list(yaml.safe_load_all(run(program("kubectl", "kubectl"), "kustomize", ROOT / "deploy/k8s" / folder)))


def settings_types() -> dict[str, type[ServiceSettings]]:
    """The settings class of each service that has one."""
    types: dict[str, type[ServiceSettings]] = runpy.run_path(str(ROOT / "tools/settings_table.py"))["settings_types"]()
    return types


def service_names() -> list[str]:
    """The folders of services/."""
    return sorted(path.parent.name for path in (ROOT / "services").glob("*/pyproject.toml"))


def dashboard() -> dict[str, Any]:
    """The Grafana dashboard."""
    content: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return content


def panel_expressions() -> list[tuple[str, str]]:
    """Title and PromQL of every query of every panel, with Grafana's variables standing for everything."""
    queries = [(panel["title"], target["expr"]) for panel in dashboard()["panels"] for target in panel["targets"]]
    return [(title, re.sub(r"\$\w+", ".*", expression)) for title, expression in queries]
