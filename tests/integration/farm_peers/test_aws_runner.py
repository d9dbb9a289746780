"""The script of AWS farm runs, through Debian's adb, on the fake phone with Android's shell."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.farm_jobs import FolderFiles, cell_on
from support.farm_peers.phone.adb_server import AdbServer, adb_server
from support.farm_peers.phone.benchmark import benchmark_binary
from support.farm_peers.phone.phone import Phone, attached_phone
from support.graphs import dense_model
from windtunnel.artifacts import ArtifactRef
from windtunnel.farm_dispatcher.adapters.aws.artifacts import Left
from windtunnel.farm_dispatcher.adapters.aws.results import collected_of
from windtunnel.farm_dispatcher.adapters.aws.test_spec import script
from windtunnel.farm_dispatcher.domain.device_runs import JobResult
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts
from windtunnel.farm_dispatcher.domain.jobs import Entry, ExecutableJob, FarmRunRequest, PushedFile
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.log_parser import parse_log

pytestmark = pytest.mark.heavy
DEVICE = Device("aws", "Pixel 8", "android", "15", ("xnnpack",), DeviceFacts("Pixel 8"))
FOLDER = "/data/local/tmp/windtunnel"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdbServer]:
    with adb_server(tmp_path_factory.mktemp("adb") / "home") as running:
        yield running


@pytest.fixture
def host(server: AdbServer, tmp_path: Path) -> Iterator[Host]:
    with attached_phone(tmp_path / "phone") as phone:
        server.connect(phone.serial)
        server.wait_for(phone.serial, "device")
        yield Host(server, phone, tmp_path)
        server.adb("disconnect", phone.serial)


@dataclass
class Host:
    """The test host."""

    server: AdbServer
    phone: Phone
    folder: Path
    files: FolderFiles = field(default_factory=FolderFiles)
    _blobs: dict[ArtifactRef, bytes] = field(default_factory=dict)

    def blob(self, content: bytes) -> ArtifactRef:
        path = self.folder / f"blob-{len(self._blobs)}"
        path.write_bytes(content)
        blob = self.files.add(path)
        self._blobs[blob] = content
        return blob

    def job(self, model: bytes, binary: bytes | None = None, **changes: Any) -> ExecutableJob:
        graph = PushedFile(self.blob(model), f"{FOLDER}/{len(self._blobs)}/model.tflite")
        program = PushedFile(self.blob(binary or benchmark_binary()), f"{FOLDER}/bin/benchmark_model")
        arguments = (f"--graph={graph.target}", "--num_threads=2", "--use_xnnpack=true")
        return ExecutableJob(graph, binary=program, arguments=arguments, **{"timeout_s": 60.0, **changes})

    def start(self, *jobs: ExecutableJob) -> tuple[FarmRunRequest, subprocess.Popen[str]]:
        """Starts the script as the test spec does."""
        entries = tuple(Entry(f"e{number}", cell_on(DEVICE), job) for number, job in enumerate(jobs))
        package = self.folder / "package"
        (package / "files").mkdir(parents=True)
        for blob, content in self._blobs.items():
            (package / "files" / blob.sha256).write_bytes(content)
        (package / "run.sh").write_text(script(entries, None))
        environment = {
            **os.environ,
            "HOME": str(self.server.home),
            "ANDROID_ADB_SERVER_PORT": str(self.server.port),
            "DEVICEFARM_DEVICE_UDID": self.phone.serial,
            "DEVICEFARM_LOG_DIR": str(self.folder / "logs"),
        }
        process = subprocess.Popen(
            ["sh", str(package / "run.sh")], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return FarmRunRequest("wt-1", DEVICE, entries, 600.0), process

    def results(self, request: FarmRunRequest, process: subprocess.Popen[str]) -> tuple[JobResult, ...]:
        output, _ = process.communicate(timeout=240)
        run = {"arn": "arn:run", "status": "COMPLETED", "result": "FAILED" if process.returncode else "PASSED"}
        left = Left(self.folder / "logs", output, "", has_customer_artifacts=True)
        return collected_of(run, [], left, request, "").results


def test_models_run_and_one_that_is_none_fails_alone(host: Host) -> None:
    model = dense_model(host.folder / "m.tflite").read_bytes()
    first, second, third = host.results(*host.start(host.job(model), host.job(b"no model"), host.job(model)))
    for result in (first, third):
        assert result.run is not None, result.failure
        log = parse_log(result.run.log)
        (parsed,) = log.runs
        assert parsed.error is None and not parsed.truncated and parsed.threads == 2
        assert log.unrecognized_lines == 0
    assert second.failure is not None and second.failure.kind is FailureKind.TEST
    assert host.phone.file(f"{FOLDER}/1/model.tflite").read_bytes() == model


@pytest.mark.parametrize(("fault", "words"), [("segv", "signal 11"), ("oom", "signal 9"), ("exit", "status 1")])
def test_benchmarks_that_end_badly(host: Host, fault: str, words: str) -> None:
    host.phone.state.faults.benchmark = fault
    (result,) = host.results(*host.start(host.job(dense_model(host.folder / "m.tflite").read_bytes())))
    assert result.failure is not None and result.failure.kind is FailureKind.TEST
    assert words in result.failure.message


def test_a_benchmark_that_takes_too_long(host: Host) -> None:
    host.phone.state.may_finish.clear()
    job = host.job(dense_model(host.folder / "m.tflite").read_bytes(), timeout_s=2.0)
    (result,) = host.results(*host.start(job))
    assert result.failure is not None and result.failure.kind is FailureKind.TIMEOUT


def test_unplugging_in_mid_run_is_not_a_result(host: Host) -> None:
    host.phone.state.may_finish.clear()
    model = dense_model(host.folder / "m.tflite").read_bytes()
    request, process = host.start(host.job(model), host.job(model))
    deadline = time.monotonic() + 60
    while not host.phone.state.started.is_set():
        assert time.monotonic() < deadline
    host.phone.unplug()
    first, second = host.results(request, process)
    for result in (first, second):
        assert result.failure is not None and result.failure.kind is FailureKind.INFRASTRUCTURE
