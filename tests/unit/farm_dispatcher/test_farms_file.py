"""farms.yaml: what it says, and what is wrong with it."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest

from windtunnel.errors import InvalidInput
from windtunnel.farm_dispatcher.adapters.farms_file.read_farms import named_farms, read_farms
from windtunnel.farm_dispatcher.domain.farm_settings import (
    AdbSettings,
    AwsSettings,
    Budget,
    Endpoints,
    FirebaseSettings,
    LocalSettings,
    PollSeconds,
)

PROMISED = """
apiVersion: windtunnel/v1
farms:
  - {name: local, kind: local, parallel: 1}
  - {name: bench, kind: adb, server: "127.0.0.1:5037", serials: [R58M1], parallel: 4}
  - name: ftl
    kind: firebase
    project: my-project
    results: gs://my-bucket/windtunnel
    price_per_minute_usd: {physical: 0.0834, virtual: 0.0167}
    endpoints: {testing: "http://127.0.0.1:9001", toolresults: "http://127.0.0.1:9001", storage: "http://127.0.0.1:9002"}
  - name: aws
    kind: aws
    region: us-west-2
    project: "arn:aws:devicefarm:us-west-2:123456789012:project:abc"
    price_per_minute_usd: {physical: 0.17}
    parallel: 5
defaults: {attempts: 4, timeout_minutes: 10, poll_seconds: {min: 6, max: 50}, budget_usd: {run: 5, day: 50}}
"""


def farms(tmp_path: Path, text: str) -> tuple[object, ...]:
    path = tmp_path / "farms.yaml"
    path.write_text(text, encoding="utf-8")
    return read_farms(path)


def test_the_promised_example(tmp_path: Path) -> None:
    local, bench, ftl, aws = farms(tmp_path, PROMISED)
    assert isinstance(local, LocalSettings) and isinstance(bench, AdbSettings)
    assert isinstance(ftl, FirebaseSettings) and isinstance(aws, AwsSettings)
    assert (bench.server, bench.serials, bench.parallel) == ("127.0.0.1:5037", ("R58M1",), 4)
    assert ftl.price_per_minute_usd == {"physical": Decimal("0.0834"), "virtual": Decimal("0.0167")}
    assert ftl.endpoints == Endpoints("http://127.0.0.1:9001", "http://127.0.0.1:9001", "http://127.0.0.1:9002")
    assert (aws.attempts, aws.timeout_minutes, aws.poll_seconds) == (4, 10, PollSeconds(6, 50))
    assert aws.budget_usd == Budget(Decimal(5), Decimal(50))


def test_attempts_of_the_settings_hold_where_the_file_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "farms.yaml"
    path.write_text("apiVersion: windtunnel/v1\nfarms: [{name: a, kind: local}, {name: b, kind: local, attempts: 2}]")
    assert [farm.attempts for farm in read_farms(path, 9)] == [9, 2]


def test_a_farm_says_it_better_than_the_defaults(tmp_path: Path) -> None:
    text = "apiVersion: windtunnel/v1\nfarms:\n- {name: l, kind: local, attempts: 7, budget_usd: {run: 0.1}}\n"
    (farm,) = farms(tmp_path, text + "defaults: {attempts: 2, budget_usd: {day: 9}}")
    assert isinstance(farm, LocalSettings)
    assert (farm.attempts, farm.budget_usd) == (7, Budget(Decimal("0.1"), None))


@pytest.mark.parametrize(
    ("farm", "words"),
    [
        ("{name: a}", "must have a kind"),
        ("{name: a, kind: frbase}", "did you mean 'firebase'"),
        ("{name: a b, kind: local}", "must be a name"),
        ("{name: a, kind: firebase}", "project"),
        ("{name: a, kind: local, paralel: 2}", "did you mean 'parallel'"),
        ("{name: a, kind: local, parallel: 0}", "whole number"),
        ("{name: a, kind: aws, project: p, price_per_minute_usd: {phone: 1}}", "phone"),
        ("{name: a, kind: aws, project: p, price_per_minute_usd: {physical: -1}}", "below zero"),
        ("{name: a, kind: local}, {name: a, kind: arm}", "given twice"),
        ("{name: a, kind: local, poll_seconds: {min: 60, max: 5}}", "min 60 is above max 5"),
        ("7", "must be an object"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, farm: str, words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        farms(tmp_path, f"apiVersion: windtunnel/v1\nfarms: [{farm}]\n")
    assert words in str(error.value)
    assert "farms.yaml: line 2: farms." in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nowhere"):
        read_farms(tmp_path / "nowhere.yaml")
    with pytest.raises(InvalidInput, match="farms"):
        farms(tmp_path, "a: [")


@pytest.mark.parametrize(
    ("name", "words"), [("fifo", "not a plain file"), ("/dev/zero", "not a plain file"), ("large", "more than 1048576")]
)
def test_what_has_no_end_is_refused_at_once(tmp_path: Path, name: str, words: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(InvalidInput, match=words) as error:
        read_farms(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_more_farms_than_can_be_led_are_refused(tmp_path: Path) -> None:
    many = "".join(f"- {{name: f{index}, kind: local}}\n" for index in range(101))
    with pytest.raises(InvalidInput, match="must have at most 100 items; has 101"):
        farms(tmp_path, f"apiVersion: windtunnel/v1\nfarms:\n{many}")


def test_farms_without_a_file() -> None:
    assert [(farm.kind, farm.attempts) for farm in named_farms(("local", "adb"), 7)] == [("local", 7), ("adb", 7)]
    with pytest.raises(InvalidInput, match="needs a project"):
        named_farms(("aws",))
