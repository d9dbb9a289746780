"""Every panel of the dashboard shows something: its queries run on a real Prometheus that scrapes the real metrics."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from support import deploy
from support.servers import free_port
from windtunnel.metrics_store.adapters.prometheus import PrometheusMetrics
from windtunnel.metrics_store.domain import Judgment, RunRecord, Verdict
from windtunnel.metrics_store.domain.facts import Measured, Seen
from windtunnel.metrics_store.domain.values import CellSpec, Measurement

# Seconds of an inference, by device; no two of them in one bucket of the histogram.
LATENCY = {"pixel8": 0.012, "pixel4": 0.035}
_READY_S = 60.0


class Prometheus:
    """A client of its HTTP API."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        # A server here and its client here must not use the machine's proxies.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ready(self) -> bool:
        try:
            with self._opener.open(f"{self._url}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each sample now."""
        result = self._get("query", {"query": expression})["result"]
        return [(sample["metric"], float(sample["value"][1])) for sample in result]

    def label_values(self, label: str, selector: str) -> list[str]:
        """What Grafana's label_values(selector, label) lists."""
        values: list[str] = self._get(f"label/{label}/values", {"match[]": selector})
        return values

    def _get(self, path: str, parameters: dict[str, str]) -> Any:
        query = urllib.parse.urlencode(parameters)
        with self._opener.open(f"{self._url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]


@pytest.fixture(scope="module")
def metrics_page() -> Iterator[int]:
    """The port of the metrics store's page after one run on two devices."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = PrometheusMetrics(registry)
    run = RunRecord("run", seen=Seen(datetime.now(UTC), sure=True, model_name="ssd"))
    for device, seconds in LATENCY.items():
        cell = CellSpec(device, "int8", "adb", device=device, accelerator="gpu", threads=4)
        metrics.measured("ssd", "3", Measured(cell, 1, Measurement()), [seconds] * 50)
    for verdict in Verdict:
        metrics.completed(run, Judgment(verdict, (), ()))
    metrics.running(2)
    server, thread = start_http_server(0, "127.0.0.1", registry=registry)
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def prometheus(metrics_page: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with our rules that has scraped the page and evaluated the rules."""
    binary = deploy.program("prometheus", "prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    client = Prometheus(port := free_port())
    configuration = _configure(folder, metrics_page)
    command = [binary, f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _READY_S
        while not (client.ready() and client.query("device:windtunnel_inference_latency_seconds:p95_1h")):
            running = process.poll() is None and time.monotonic() < deadline
            assert running, (folder / "log").read_text(encoding="utf-8")[-2000:]
            time.sleep(0.1)
        yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def _configure(folder: Path, port: int) -> Path:
    rules = yaml.safe_load(deploy.RULES.read_text(encoding="utf-8"))
    for group in rules["groups"]:
        group["interval"] = "500ms"
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    target = {"targets": [f"127.0.0.1:{port}"], "labels": {"service": "metrics-store", "pod": "metrics-store-0"}}
    configuration = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "windtunnel", "static_configs": [target]}],
    }
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    return file


@pytest.mark.parametrize(("title", "expression"), deploy.panel_expressions())
def test_a_panel_is_not_empty(prometheus: Prometheus, title: str, expression: str) -> None:
    samples = prometheus.query(expression)
    assert samples, title
    assert all(math.isfinite(value) for _, value in samples), title


def test_the_quantiles_are_those_of_what_was_measured(prometheus: Prometheus) -> None:
    panels = dict(deploy.panel_expressions())
    for title in ("p50 by device", "p95 by device"):
        found = {labels["device"]: value for labels, value in prometheus.query(panels[title])}
        assert found.keys() == LATENCY.keys()
        # Five buckets to a decade: a quantile is right to a factor of 10 ** 0.2.
        assert all(found[device] == pytest.approx(seconds, rel=0.6) for device, seconds in LATENCY.items())
    counts = {labels["device"]: value for labels, value in prometheus.query(panels["Inferences by device"])}
    assert counts == dict.fromkeys(LATENCY, 50)
    verdicts = {labels["verdict"]: value for labels, value in prometheus.query(panels["Runs by verdict"])}
    assert verdicts == {"passed": 1, "failed": 1, "could_not_run": 1}


def test_the_variables_list_what_there_is(prometheus: Prometheus) -> None:
    expected = {"model": ["ssd"], "version": ["3"], "variant": ["int8"]}
    expected |= {"device": sorted(LATENCY), "accelerator": ["gpu"], "threads": ["4"]}
    variables = [v for v in deploy.dashboard()["templating"]["list"] if v["type"] == "query"]
    assert {v["name"] for v in variables} == expected.keys()
    for variable in variables:
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
        assert match and match[2] == variable["name"]
        selector = re.sub(r"\$\w+", ".*", match[1])
        assert prometheus.label_values(match[2], selector) == expected[variable["name"]]
