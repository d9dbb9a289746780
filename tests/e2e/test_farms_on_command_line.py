"""Farms on the command line, without a server: devices, bench --device, submit --dry-run. The farms are servers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.farms_installation import Installation, installation, until
from support.graphs import dense_model
from support.promised_formats import problems, unseen

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def farms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("farms")) as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dense_model(tmp_path_factory.mktemp("model") / "m.tflite")


def test_devices_of_all_farms_in_one_list(farms: Installation) -> None:
    listed = farms.json("devices", "--farms", farms.farms)
    assert problems("devices", listed) == [] and unseen("devices", [listed]) == []
    by_farm = {name: [one for one in listed if one["farm"] == name] for name in ("local", "bench", "ftl", "aws")}
    assert all(by_farm.values())
    assert {one["price_per_minute_usd"] for one in by_farm["aws"]} == {0.17}
    assert by_farm["local"][0]["price_per_minute_usd"] is None and by_farm["local"][0]["kind"] == "host"
    prices = {one["kind"]: one["price_per_minute_usd"] for one in by_farm["ftl"]}
    assert prices.items() <= {"physical": 0.0834, "virtual": 0.0167}.items()
    ipads = farms.json("devices", "--farms", farms.farms, "--platform", "ios", "--os-version", "16", "--farm", "aws")
    assert [one["os_version"] for one in ipads] == ["16.0.3"]
    cheap = farms.json("devices", "--farms", farms.farms, "--max-price", "0.02", "--platform", "android")
    assert {one["farm"] for one in cheap} <= {"bench", "ftl"} and {one["kind"] for one in cheap} >= {"virtual"}


def test_a_farm_that_is_away_does_not_hide_the_others(farms: Installation, tmp_path: Path) -> None:
    document = yaml.safe_load(farms.farms.read_text())
    document["farms"][1]["server"] = "127.0.0.1:1"
    (tmp_path / "farms.yaml").write_text(yaml.safe_dump(document))
    done = farms.cli("devices", "--farms", tmp_path / "farms.yaml")
    assert done.returncode == 0 and "Google Pixel 8" in done.stdout
    assert "farm bench does not answer" in done.stderr
    alone = farms.cli("devices", "--farms", tmp_path / "farms.yaml", "--farm", "bench", "--json")
    assert (alone.returncode, alone.stdout) == (2, "[]\n")


def test_bench_on_a_phone(farms: Installation, model: Path, tmp_path: Path) -> None:
    (phone,) = farms.json("devices", "--farms", farms.farms, "--farm", "bench")
    device = f"bench/{phone['device']}@{phone['os_version']}"
    options = ("--farms", farms.farms, "--catalog", farms.phone_catalog(), "--log", tmp_path / "phone.log")
    measured = farms.json("bench", model, "--device", device, "--threads", "2", *options)
    assert problems("bench_on_device", measured) == []
    assert (measured["farm"], measured["threads"], measured["cost_usd"]) == ("bench", 2, None)
    assert measured["latency_ms"]["p50"] > 0 and measured["nodes_total"] == 4
    assert "Number of nodes" in (tmp_path / "phone.log").read_text() or measured["latency_ms"]["samples"]


def test_bench_on_aws_costs_what_the_farm_bills(farms: Installation, model: Path) -> None:
    done = farms.cli(
        "bench", model, "--device", "aws/Google Pixel 8@14", "--farms", farms.farms, "--catalog", farms.aws_catalog(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "expected to cost $0.17" in done.stderr and "--resume wt-" in done.stderr
    assert "cost        $" in done.stdout
    assert "aws: " in done.stderr


def test_what_may_cost_more_than_the_budget_is_refused(farms: Installation, model: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(farms.farms.read_text())
    document["farms"][3]["budget_usd"] = {"run": 0.1}
    (tmp_path / "farms.yaml").write_text(yaml.safe_dump(document))
    scheduled = farms.aws.calls["ScheduleRun"]
    options = ("--farms", tmp_path / "farms.yaml", "--catalog", farms.aws_catalog())
    done = farms.cli("bench", model, "--device", "aws/Google Pixel 8@14", *options)
    assert done.returncode == 2 and "0.10 USD" in done.stderr and "budget_usd.run" in done.stderr
    assert farms.aws.calls["ScheduleRun"] == scheduled


def test_ctrl_c_cancels_on_the_farm(farms: Installation, model: Path) -> None:
    stopped, scheduled = farms.aws.calls["StopRun"], farms.aws.calls["ScheduleRun"]
    options = ("--farms", farms.farms, "--catalog", farms.aws_catalog())
    with farms.started("bench", model, "--device", "aws/Google Pixel 8@14", *options) as process:
        until(lambda: farms.aws.calls["ScheduleRun"] > scheduled, "the run")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "canceling on the farm" in errors
    assert farms.aws.calls["StopRun"] > stopped


def test_a_run_that_was_left_is_collected(farms: Installation, model: Path) -> None:
    options = ("--farms", farms.farms, "--catalog", farms.aws_catalog(), "--device", "aws/Google Pixel 8@14")
    scheduled = farms.aws.calls["ScheduleRun"]
    with farms.started("bench", model, *options) as process:
        until(lambda: farms.aws.calls["ScheduleRun"] > scheduled, "the run")
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    (command,) = [line for line in errors.splitlines() if "--resume" in line]
    measured = farms.json("bench", model, *options, "--resume", command.split()[-1])
    assert measured["latency_ms"]["p50"] > 0 and measured["cost_usd"] > 0
    assert farms.aws.calls["ScheduleRun"] == scheduled + 1
    unknown = farms.cli("bench", model, *options, "--resume", "wt-unknown")
    assert unknown.returncode == 2 and "has no farm run 'wt-unknown'" in unknown.stderr


def test_bench_in_an_app(farms: Installation, model: Path) -> None:
    listed = farms.json("devices", "--farms", farms.farms, "--farm", "ftl", "--available")
    device = f"ftl/{listed[0]['device']}@{listed[0]['os_version']}"
    options = ("--farms", farms.farms, "--catalog", farms.phone_catalog())
    measured = farms.json("bench", model, "--device", device, "--accelerator", "xnnpack", *options)
    assert (measured["run_as"], measured["farm"]) == ("app", "ftl")
    assert measured["latency_ms"]["p50"] > 0 and measured["cost_usd"] > 0


def test_a_dry_run_says_what_it_costs(farms: Installation, model: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "windtunnel/v1",
                "variants": ["float32", "int8"],
                "devices": [
                    {"farm": "aws", "device": ["Google Pixel 8"], "accelerator": ["xnnpack", "cpu"], "threads": [1, 2]},
                    {"farm": "aaws", "device": "Google Pixel 8"},
                    {"farm": "local"},
                ],
                "budget_usd": 5,
            }
        )
    )
    scheduled = farms.aws.calls["ScheduleRun"]
    document = farms.json("submit", model, "--plan", plan, "--dry-run", "--farms", farms.farms, code=1)
    assert problems("dry_run", document) == [] and unseen("dry_run", [document]) == []
    aws = next(one for one in document["farms"] if one["farm"] == "aws")
    # Of each variant 4 cells on each of 2 systems: 30 s + 4 * 20 s is 2 minutes; alone each cell is 1 minute.
    assert (aws["cells"], aws["farm_runs"], aws["billed_minutes"]) == (16, 4, 8)
    assert (aws["cost_usd"], aws["unpacked_cost_usd"]) == (1.36, 2.72)
    assert document["problems"] == ["farm aws allows $1.00 for a run, which may cost $1.36 there"]
    assert farms.aws.calls["ScheduleRun"] == scheduled
    text = farms.cli("submit", model, "--plan", plan, "--dry-run", "--farms", farms.farms).stdout
    assert "aws/Google Pixel 8 (android 14): builtin, 2 threads" in text
    assert "skipped: farm 'aaws' is not set up in this installation; did you mean 'aws'?" in text
    assert "expected cost: $1.36 at most, of a budget of $5.00" in text
