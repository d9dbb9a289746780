"""From what a run of AWS Device Farm left to results: files that lie, are cut, are lost, or are not of the runner."""

from __future__ import annotations

import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.farm_jobs import cell_on, model_job
from windtunnel.artifacts import ArtifactRef
from windtunnel.farm_dispatcher.adapters.aws.artifacts import Left, local_name, unpack
from windtunnel.farm_dispatcher.adapters.aws.results import billed_minutes, collected_of
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts
from windtunnel.farm_dispatcher.domain.jobs import Entry, FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind

DEVICE = Device("aws", "Google Pixel 8", "android", "14", ("xnnpack",), DeviceFacts("Google Pixel 8"))
MODEL = ArtifactRef("a" * 64, 5)
LOG = (
    "INFO: STARTING!\nINFO: Inference timings in us: Init: 1, First inference: 2, Warmup (avg): 3, Inference (avg): 4\n"
)
PASSED = {"arn": "arn:run", "status": "COMPLETED", "result": "PASSED"}


def request(count: int = 1) -> FarmRunRequest:
    entries = tuple(Entry(f"e{number}", cell_on(DEVICE), model_job(MODEL)) for number in range(count))
    return FarmRunRequest("wt-1", DEVICE, entries, 60.0)


def left(folder: Path, files: dict[str, str] | None = None, output: str = "", device_log: str = "") -> Left:
    for name, text in (files or {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Left(folder, output, device_log, files is not None)


def entry_files(number: int, status: str, log: str = LOG) -> dict[str, str]:
    return {f"windtunnel/e{number}/status": status, f"windtunnel/e{number}/log.txt": log}


DONE = "celsius_before=301\nseconds=7\ncelsius_after=305\nexit=0\nstage=done\n"


def test_an_entry_that_ended_counts_whatever_became_of_the_run(tmp_path: Path) -> None:
    run = {**PASSED, "result": "ERRORED"}
    collected = collected_of(run, [], left(tmp_path, entry_files(0, DONE)), request(2), "")
    first, second = collected.results
    assert first.run is not None and (first.run.log, first.seconds) == (LOG, 7.0)
    assert second.failure is not None and second.failure.kind is FailureKind.INFRASTRUCTURE


@pytest.mark.parametrize(
    ("status", "log", "kind"),
    [
        ("", "", FailureKind.INFRASTRUCTURE),
        ("celsius_before=301\n", "half a log", FailureKind.INFRASTRUCTURE),
        ("seconds=2\nexit=1\nstage=run\n", "ERROR: no model", FailureKind.TEST),
        ("seconds=x\nexit=y\nstage=run\n", "", FailureKind.TEST),
        ("stage=done\nexit=0\n", " \n", FailureKind.TEST),
        ("stage=verify\n", "", FailureKind.INFRASTRUCTURE),
        ("nonsense\n\0=\n", "", FailureKind.INFRASTRUCTURE),
    ],
)
def test_statuses_of_the_runner(tmp_path: Path, status: str, log: str, kind: FailureKind) -> None:
    (result,) = collected_of(PASSED, [], left(tmp_path, entry_files(0, status, log)), request(), "").results
    assert result.run is None and result.failure is not None
    assert result.failure.kind is kind


def test_a_log_that_only_the_output_of_the_test_spec_has(tmp_path: Path) -> None:
    output = "[DEVICEFARM] x\n[windtunnel] begin e0\n[windtunnel] status e0 seconds=7 exit=0 stage=done \n"
    output += f"[windtunnel] log e0\n{LOG}\n[windtunnel] end e0\n[windtunnel] begin e1\n"
    first, second = collected_of(PASSED, [], left(tmp_path, output=output), request(2), "").results
    assert first.run is not None and (first.run.log, first.seconds) == (LOG, 7.0)
    assert second.failure is not None and second.failure.kind is FailureKind.INFRASTRUCTURE
    assert "1 GB" in second.failure.hint


@pytest.mark.parametrize("place", ["file", "output", "device_log"])
def test_a_single_log_without_the_runner(tmp_path: Path, place: str) -> None:
    said = {"output": "", "device_log": "", place: LOG}
    files = {"benchmark.log": LOG} if place == "file" else None
    found = left(tmp_path, files, said["output"], said["device_log"])
    (result,) = collected_of(PASSED, [], found, request(), "").results
    assert result.run is not None and result.run.log == LOG
    for cell in collected_of(PASSED, [], found, request(2), "").results:
        assert cell.failure is not None, "nobody knows whose log it is"
    (result,) = collected_of({**PASSED, "result": "FAILED"}, [], found, request(), "").results
    assert result.failure is not None and result.failure.kind is FailureKind.TEST


@pytest.mark.parametrize(
    ("run", "jobs", "expected"),
    [
        ({"deviceMinutes": {"total": 3.0, "metered": 1.7, "unmetered": 1.3}}, [], "1.7"),
        ({"deviceMinutes": {"total": 0.0, "metered": 0.0}}, [], None),
        ({"deviceMinutes": {"metered": 0.1 + 0.2}}, [], "0.30000000000000004"),
        ({}, [{"deviceMinutes": {"metered": 1.1}}, {"deviceMinutes": {"metered": 2.2}}], "3.3"),
        ({}, [], None),
        ({"billingMethod": "UNMETERED", "deviceMinutes": {"total": 3.0, "metered": 0.0}}, [], None),
    ],
)
def test_the_bill_is_that_of_metered_minutes(run: dict[str, Any], jobs: list[Any], expected: str | None) -> None:
    billed = billed_minutes(run, jobs)
    assert billed == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("Host_Machine_Files/$DEVICEFARM_LOG_DIR/windtunnel/e0/status", "windtunnel/e0/status"),
        ("Host_Machine_Files/$WORKING_DIRECTORY/$X/a.txt", "a.txt"),
        ("a/b.txt", "a/b.txt"),
        ("/etc/passwd", "etc/passwd"),
        ("../../up", "up"),
        ("Host_Machine_Files/$DEVICEFARM_LOG_DIR/../../up", "up"),
        ("$ONLY", "unnamed"),
    ],
)
def test_names_in_customer_artifacts(name: str, local: str) -> None:
    assert local_name(name) == Path(local)


def test_customer_artifacts_that_cannot_be_unpacked_are_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"not a zip")
    assert not unpack(path, tmp_path / "out")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/one.txt", "one" * 1000)
        archive.writestr("a", "a file that is a folder, too")
    assert not unpack(path, tmp_path / "out")
    damaged = bytearray(path.read_bytes())
    damaged[45] ^= 0xFF
    path.write_bytes(damaged)
    assert not unpack(path, tmp_path / "other")


def test_a_job_of_another_device_counts_for_nothing(tmp_path: Path) -> None:
    job = {"result": "PASSED", "device": {"arn": "arn:two", "name": "Other"}}
    found = left(tmp_path, entry_files(0, DONE))
    (result,) = collected_of(PASSED, [job], found, request(), "arn:one").results
    assert result.failure is not None and "Other" in result.failure.message
    (result,) = collected_of(PASSED, [job], found, request(), "arn:two").results
    assert result.run is not None and result.run.instance == "arn:two"
