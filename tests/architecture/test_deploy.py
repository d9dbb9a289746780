"""The deployment files say what the services are: ports, settings, health, images; they render and are valid."""

from __future__ import annotations

import ast
import base64
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from prometheus_client import CollectorRegistry

from support import deploy
from support.deploy import ROOT, RULES, Resource
from windtunnel.metrics_store.adapters.prometheus import PrometheusMetrics
from windtunnel.service import settings
from windtunnel.service.settings import PREFIX, ServiceSettings

FOLDERS = ("base", "overlays/dev")
WORKLOADS = ("Deployment", "StatefulSet")
# The oldest release that Kubernetes' makers may still support, and the newest that the validator knows.
KUBERNETES = ("1.32", kubernetes_validate.latest_version())
SERVICES = deploy.service_names()
RUNNING_JOBS = ("converter", "farm_dispatcher", "layer_diff", "quantizer")
# In every Prometheus, and in every process that has prometheus_client.
STANDARD_METRICS = {"up", "process_resident_memory_bytes"}


@cache
def rendered(folder: str) -> list[Resource]:
    return deploy.render(folder)


def named(folder: str, kind: str) -> dict[str, Resource]:
    return {item["metadata"]["name"]: item for item in rendered(folder) if item["kind"] == kind}


def deployment(service: str, folder: str = "base") -> Resource:
    return named(folder, "Deployment")[service.replace("_", "-")]


def pod_of(workload: Resource) -> Resource:
    pod: Resource = workload["spec"]["template"]["spec"]
    return pod


def container_of(service: str, folder: str = "base") -> Resource:
    (container,) = pod_of(deployment(service, folder))["containers"]
    assert isinstance(container, dict)
    return container


def config_map(folder: str = "base") -> dict[str, str]:
    name = container_of("converter", folder)["envFrom"][0]["configMapRef"]["name"]
    data: dict[str, str] = named(folder, "ConfigMap")[name]["data"]
    return data


def workloads(folder: str) -> Iterator[Resource]:
    return (item for item in rendered(folder) if item["kind"] in WORKLOADS)


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid(folder: str, version: str) -> None:
    for item in rendered(folder):
        kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_service_has_a_deployment_and_a_service(folder: str) -> None:
    expected = {name.replace("_", "-") for name in SERVICES}
    for kind in ("Deployment", "Service"):
        found = {
            name
            for name, item in named(folder, kind).items()
            if item["metadata"]["labels"]["app.kubernetes.io/component"] == "service"
        }
        assert found == expected


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_service_selects_the_pods_of_one_workload(folder: str) -> None:
    labels = [item["spec"]["template"]["metadata"]["labels"] for item in workloads(folder)]
    for name, service in named(folder, "Service").items():
        selector = service["spec"]["selector"].items()
        assert sum(selector <= pod.items() for pod in labels) == 1, name
        (pod,) = (pod_of(item) for item in workloads(folder) if item["metadata"]["name"] == name)
        ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]


def test_skaffold_builds_every_image_from_the_one_dockerfile() -> None:
    skaffold = yaml.safe_load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
    built = {}
    for artifact in skaffold["build"]["artifacts"]:
        assert (ROOT / artifact["docker"]["dockerfile"]).is_file()
        built[artifact["docker"]["buildArgs"]["SERVICE"]] = artifact["image"]
    assert built == {name: container_of(name)["image"] for name in SERVICES}
    assert skaffold["manifests"]["kustomize"]["paths"] == ["deploy/k8s/overlays/dev"]


def test_the_build_gets_every_member_of_the_workspace() -> None:
    # uv refuses a workspace that has a member without its pyproject.toml.
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    for manifest in (
        "pyproject.toml",
        "shared/pyproject.toml",
        "cli/pyproject.toml",
        "sdk/python/client/pyproject.toml",
        "sdk/python/monitor/pyproject.toml",
    ):
        assert {manifest, *(str(parent) for parent in Path(manifest).parents)} & allowed, manifest
    assert {"uv.lock", "shared", "diagnosis", "services"} <= allowed


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting(folder: str, service: str) -> None:
    own = deploy.settings_types().get(service, ServiceSettings)
    known = {f"{PREFIX}{field.upper()}" for field in own.model_fields}
    common = {f"{PREFIX}{field.upper()}" for field in ServiceSettings.model_fields}
    assert {name for name in config_map(folder) if name.startswith(PREFIX)} <= common
    assert {entry["name"] for entry in container_of(service, folder)["env"]} <= known


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("service", SERVICES)
def test_ports_health_and_grace_follow_the_settings(folder: str, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in config_map(folder).items():
        monkeypatch.setenv(name, value)
    parsed = settings.load(deploy.settings_types().get(service, ServiceSettings))
    container = container_of(service, folder)
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {
        "grpc": parsed.grpc_port,
        "metrics": parsed.metrics_port,
    }
    api = importlib.import_module(f"windtunnel.v1.{service}_pb2")
    (full_name,) = (s.full_name for s in api.DESCRIPTOR.services_by_name.values())
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"] == {"port": parsed.grpc_port, "service": full_name}
    annotations = deployment(service, folder)["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(parsed.metrics_port)
    assert pod_of(deployment(service, folder))["terminationGracePeriodSeconds"] > parsed.drain_s + 10
    assert parsed.host == "0.0.0.0"


def runs_jobs(service: str) -> bool:
    """Whether a module of the service imports the pool of child processes."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "services" / service).rglob("*.py")]
    return any(
        alias.name == "ChildPool"
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("windtunnel.isolation")
        for alias in node.names
    )


def test_the_services_that_run_jobs_are_these() -> None:
    assert tuple(name for name in SERVICES if runs_jobs(name)) == RUNNING_JOBS


@pytest.mark.parametrize("service", RUNNING_JOBS)
def test_a_job_may_not_take_the_memory_of_its_service(service: str) -> None:
    limit = container_of(service)["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Gi")) * 1024**3 > 1.25e6 * int(config_map()["WINDTUNNEL_JOB_MEMORY_MB"])


@pytest.mark.parametrize("folder", FOLDERS)
def test_addresses_are_those_of_services_in_the_cluster(folder: str) -> None:
    variables = config_map(folder)
    urls = [variables["WINDTUNNEL_NATS_URL"], variables["AWS_ENDPOINT_URL_S3"]]
    for secret in named(folder, "Secret").values():
        urls += [base64.b64decode(secret["data"]["url"]).decode()] if "url" in secret["data"] else []
    for url in urls:
        parts = urlsplit(url)
        service = named(folder, "Service")[str(parts.hostname)]
        assert parts.port in {port["port"] for port in service["spec"]["ports"]}, url


def test_the_dev_overlay_makes_every_secret_that_the_base_expects() -> None:
    def expected(folder: str) -> set[tuple[str, str | None]]:
        found: set[tuple[str, str | None]] = set()
        for container in (pod_of(item)["containers"][0] for item in workloads(folder)):
            found |= {(e["secretRef"]["name"], None) for e in container.get("envFrom", ()) if "secretRef" in e}
            references = [e["valueFrom"]["secretKeyRef"] for e in container.get("env", ()) if "valueFrom" in e]
            found |= {(reference["name"], reference["key"]) for reference in references}
        return found

    assert {name for name, _ in expected("base")} == {"windtunnel-s3", "windtunnel-postgres"}
    made = named("overlays/dev", "Secret")
    for name, key in expected("overlays/dev"):
        assert key is None or key in made[name]["data"]
        assert name in made
    assert not named("base", "Secret"), "passwords do not belong into the base"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_pod_is_restricted(folder: str) -> None:
    for workload in workloads(folder):
        name, pod = workload["metadata"]["name"], pod_of(workload)
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not pod["automountServiceAccountToken"], name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_can_write_to_its_home_and_to_tmp(service: str) -> None:
    container = container_of(service)
    volumes = {v["name"]: v for v in pod_of(deployment(service))["volumes"]}
    writable = {m["mountPath"] for m in container["volumeMounts"] if "emptyDir" in volumes[m["name"]]}
    home = next(entry["value"] for entry in container["env"] if entry["name"] == "WINDTUNNEL_HOME")
    assert {home, "/tmp"} <= writable


def test_the_cluster_gets_the_dashboard_and_the_rules() -> None:
    maps = named("base", "ConfigMap")
    dashboards = maps["windtunnel-dashboards"]
    assert json.loads(dashboards["data"]["windtunnel-latency.json"]) == deploy.dashboard()
    assert dashboards["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert maps["windtunnel-prometheus-rules"]["data"]["rules.yaml"] == RULES.read_text(encoding="utf-8")


def test_the_dashboard_has_its_variables_and_no_panel_covers_another() -> None:
    board = deploy.dashboard()
    assert board["uid"] == "windtunnel-latency"
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert variables == {"datasource", "model", "version", "variant", "device", "accelerator", "threads"}
    assert set(re.findall(r"\$(?:{(\w+)}|(\w+))", json.dumps(board["panels"]))) <= {
        *((name, "") for name in variables),
        *(("", name) for name in variables),
    }
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert max(x for x, _ in cells) < 24 and not cells & taken, panel["title"]
        taken |= cells


def exported_metrics() -> set[str]:
    """Names of the series that the metrics store exports."""
    registry = CollectorRegistry()
    PrometheusMetrics(registry)
    suffixes = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",), "gauge": ("",)}
    return {family.name + suffix for family in registry.collect() for suffix in suffixes[family.type]}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def metric_names(expression: str) -> set[str]:
    """The metrics that an expression names."""
    without_labels = re.sub(r"\{[^}]*\}|\b(?:by|on|without)\s*\([^)]*\)|\[[^\]]*\]", "", expression)
    words = set(re.findall(r"(?<!\w)[a-zA-Z_][\w:]*(?!\w|\s*\()", without_labels))
    return words - {"unless", "or", "and", "offset", "by", "on", "group_left"}


def test_panels_and_rules_read_only_metrics_that_exist() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    known = exported_metrics() | recorded | STANDARD_METRICS
    for name, expression in [*deploy.panel_expressions(), *((str(rule), rule["expr"]) for rule in rules())]:
        used = metric_names(expression)
        assert used and used <= known, f"{name}: {used - known}"
    queries = (v["definition"] for v in deploy.dashboard()["templating"]["list"] if v["type"] == "query")
    for query in queries:
        assert set(re.findall(r"label_values\((\w+)", query)) <= known, query


def test_panel_expressions_parse(tmp_path: Path) -> None:
    promtool = deploy.program("promtool", "prometheus")
    records = [{"record": f"panel:{i}", "expr": expr} for i, (_, expr) in enumerate(deploy.panel_expressions())]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}), encoding="utf-8")
    assert f"{len(records)} rules found" in deploy.run(promtool, "check", "rules", "--lint=none", file)


def test_the_rules_do_what_their_tests_say() -> None:
    promtool = deploy.program("promtool", "prometheus")
    deploy.run(promtool, "check", "rules", "--lint-fatal", RULES)
    deploy.run(promtool, "test", "rules", RULES.with_name("rules_test.yaml"))


def test_the_scrape_configuration_is_valid(tmp_path: Path) -> None:
    promtool = deploy.program("promtool", "prometheus")
    configuration = yaml.safe_load((RULES.with_name("prometheus.yaml")).read_text(encoding="utf-8"))
    (job,) = configuration["scrape_configs"]
    # Debian's Prometheus is built without service discovery in Kubernetes.
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": ["windtunnel"]}}]
    assert configuration["rule_files"] == [RULES.name]
    (tmp_path / RULES.name).write_bytes(RULES.read_bytes())
    file = tmp_path / "prometheus.yaml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    deploy.run(promtool, "check", "config", file)


def test_the_table_of_settings_is_current() -> None:
    fresh = subprocess.run(
        [sys.executable, ROOT / "tools/settings_table.py"], capture_output=True, text=True, check=True
    ).stdout
    current = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert current == fresh, "run: python tools/settings_table.py > docs/settings.md"


def test_every_variable_in_the_code_is_in_the_table() -> None:
    table = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    for folder in (
        "shared/src",
        "diagnosis/src",
        "services",
        "cli/src",
        "sdk/python/client/src",
        "sdk/python/monitor/src",
    ):
        for path in (ROOT / folder).rglob("*.py"):
            for name in set(re.findall(r"\bWINDTUNNEL_[A-Z0-9_]*[A-Z0-9]\b", _strings(path))):
                assert f"`{name}`" in table or name in _NO_VARIABLES, f"{path}: {name}"


# Streams of the bus.
_NO_VARIABLES = {"WINDTUNNEL_DEAD"}


def _strings(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return "\n".join(n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
