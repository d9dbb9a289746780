"""Apps on attached phones: installed, started by an intent or a test, and removed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from support.adb_farm import Lab, ended, failure
from support.farm_jobs import FolderFiles, cell_on, request_of
from support.farm_peers.phone.apk.maker import PACKAGE, TEST_PACKAGE, base_app, manifest, signed_app
from support.farm_peers.phone.phone import Phone
from windtunnel.app_builder import BenchmarkConfig, BuildRequest, Platform, SigningKey, build
from windtunnel.farm_dispatcher.adapters.adb.adb_farm import AdbFarm
from windtunnel.farm_dispatcher.domain.device_runs import Collected, Phase
from windtunnel.farm_dispatcher.domain.jobs import AppJob, Entry
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.log_parser import parse_log

pytestmark = pytest.mark.heavy
OLD_SUMMARY = "Inference timings in us: Init: 1, First inference: 2, Warmup (avg): 3, Inference (avg): 4"


class Apps:
    """App jobs with a real, signed APK."""

    def __init__(self, folder: Path, key: SigningKey) -> None:
        self.files = FolderFiles()
        self._folder = folder
        self._key = key

    def built(self, name: str, model: Path, document: bytes | None = None, key: SigningKey | None = None) -> Path:
        folder = self._folder / name
        folder.mkdir()
        config = BenchmarkConfig(run_id="run-1", variant="float32", num_threads=2)
        base = base_app(folder / "base.apk", document)
        return build(BuildRequest(Platform.ANDROID, model, config, folder / "app.apk", base), key or self._key).path

    def entry(self, farm_device: Any, apk: Path, **changes: Any) -> Entry:
        blob = self.files.add(apk)
        job = {
            "package": blob, "platform": "android", "kind": "activity", "package_name": PACKAGE,
            "model_sha256": "0" * 64, "timeout_s": 60.0, **changes,
        }  # fmt: skip
        return Entry("cell-0", cell_on(farm_device, run_as="app"), AppJob(**job))

    async def run(self, farm: AdbFarm, into: Path, apk: Path, key: str = "wt-1", **changes: Any) -> Collected:
        (device,) = await farm.devices()
        request = request_of(device, self.entry(device, apk, **changes), key=key)
        submitted = await farm.submit(request, self.files)
        assert await ended(farm, submitted) is Phase.ENDED
        return await farm.collect(submitted, request, into)


@pytest.fixture
def apps(tmp_path: Path, key: SigningKey) -> Apps:
    return Apps(tmp_path, key)


async def test_an_app_runs_by_its_intent(bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path) -> None:
    apk, farm = apps.built("app", model), bench.farm(phone)
    # Left by a job before; its clock may be ahead.
    phone.log.ahead = datetime.timedelta(seconds=5)
    phone.log.write(77, "I", "tflite", OLD_SUMMARY)
    phone.log.ahead = datetime.timedelta()
    collected = await apps.run(farm, tmp_path / "into", apk, arguments={"args": "--num_threads=3 --use_xnnpack=true"})
    (result,) = collected.results
    assert result.run is not None, result.failure
    (parsed,) = parse_log(result.run.log).runs
    assert parsed.threads == 3 and parsed.error is None and not parsed.truncated
    assert not phone.packages.installed and not phone.processes.apps


@pytest.mark.parametrize("kind", ["game_loop", "instrumentation"])
async def test_other_kinds_of_app_jobs(
    bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path, kind: str, key: SigningKey
) -> None:
    apk, farm = apps.built("app", model), bench.farm(phone)
    tests = apps.files.add(signed_app(tmp_path / "tests.apk", key, manifest(TEST_PACKAGE, tests=PACKAGE)))
    changes: dict[str, Any] = {"kind": kind, "scenarios": (2,)}
    if kind == "instrumentation":
        changes["test_package"] = tests
    collected = await apps.run(farm, tmp_path / "into", apk, **changes)
    (result,) = collected.results
    assert result.run is not None, result.failure
    assert parse_log(result.run.log).runs[0].error is None
    phone.state.faults.benchmark = "segv"
    found = failure(await apps.run(farm, tmp_path / "again", apk, "wt-2", **changes))
    assert found.kind is FailureKind.TEST and "SIGSEGV" in found.message and "Fatal signal 11" in found.detail


async def test_an_app_of_another_key_is_replaced(
    bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path
) -> None:
    """pytorch/executorch#8492: INSTALL_FAILED_UPDATE_INCOMPATIBLE until somebody removes the old app."""
    older = apps.built("older", model, key=SigningKey.generate())
    assert bench.server.adb("-s", phone.serial, "install", str(older)).returncode == 0
    collected = await apps.run(bench.farm(phone), tmp_path / "into", apps.built("app", model))
    assert collected.results[0].run is not None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INSTALL_FAILED_INSUFFICIENT_STORAGE: no room", FailureKind.DEVICE),
        ("INSTALL_FAILED_USER_RESTRICTED: Install canceled by user", FailureKind.DEVICE),
        ("INSTALL_FAILED_INTERNAL_ERROR", FailureKind.INFRASTRUCTURE),
        ("INSTALL_FAILED_SOMETHING_NEW", FailureKind.OTHER),
    ],
)
async def test_refused_installations(
    bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path, code: str, kind: FailureKind
) -> None:
    phone.state.faults.install = code
    found = failure(await apps.run(bench.farm(phone), tmp_path / "into", apps.built("app", model)))
    assert (found.kind, found.field) == (kind, code.partition(":")[0]) and code.partition(":")[0] in found.message


async def test_an_app_with_a_flipped_byte_is_refused(
    bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path
) -> None:
    apk = apps.built("app", model)
    data = bytearray(apk.read_bytes())
    data[len(data) // 2] ^= 1
    apk.write_bytes(data)
    found = failure(await apps.run(bench.farm(phone), tmp_path / "into", apk))
    assert found.kind is FailureKind.TEST and found.field.startswith("INSTALL_PARSE_FAILED")


async def test_an_app_that_never_ends_is_ended(
    bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path
) -> None:
    phone.state.may_finish.clear()
    found = failure(await apps.run(bench.farm(phone), tmp_path / "into", apps.built("app", model), timeout_s=3.0))
    assert found.kind is FailureKind.TIMEOUT and not phone.processes.apps


async def test_an_app_without_that_activity(bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path) -> None:
    found = failure(
        await apps.run(bench.farm(phone), tmp_path / "into", apps.built("app", model), package_name="no.such")
    )
    assert found.kind is FailureKind.TEST and "does not exist" in found.message
