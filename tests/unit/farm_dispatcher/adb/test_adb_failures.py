"""Each row of the failure tables of attached phones, and which reason of an entry counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.farm_jobs import cell_on, request_of
from windtunnel.artifacts import ArtifactRef
from windtunnel.farm_dispatcher.adapters.adb.failures import ADB_WORDS, INSTALL_CODES, farm_error, install_kind
from windtunnel.farm_dispatcher.adapters.adb.results import LeftBehind, result_of
from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts
from windtunnel.farm_dispatcher.domain.jobs import AppJob, Entry, ExecutableJob, PushedFile
from windtunnel.farms.failure_kinds import FailureKind

DEVICE = Device("bench", "Pixel 8", "android", "15", ("xnnpack", "cpu"), DeviceFacts("Pixel 8"))
BLOB = ArtifactRef("a" * 64, 10)
PROGRAM = ExecutableJob(
    PushedFile(BLOB, "/data/local/tmp/m"), PushedFile(BLOB, "/data/local/tmp/benchmark_model"), timeout_s=60.0
)
APP = AppJob(BLOB, "android", "activity", "org.tensorflow.lite.benchmark", "a" * 64)
SUMMARY = "INFO: Inference timings in us: Init: 1, First inference: 2, Warmup (avg): 3, Inference (avg): 4\n"
KILL = (
    "11-30 10:00:00.000   512   512 I lowmemorykiller: Kill 'org.tensorflow.lite.benchmark' (4711), uid 10123, "
    "oom_score_adj 0 to free 912345kB rss"
)
FATAL = (
    "11-30 10:00:00.000  4711  4711 F libc    : Fatal signal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x10 in "
    "tid 4711 (lite.benchmark), pid 4711 (lite.benchmark)"
)
OTHERS_FATAL = FATAL.replace("lite.benchmark", "ndroid.systemui")


@pytest.mark.parametrize(
    ("said", "kind", "retryable"),
    [
        ("device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set", "device", False),
        ("device still authorizing", "device", True),
        ("insufficient permissions for device: user in plugdev group; no permissions", "device", False),
        ("device offline", "device", True),
        ("write failed: No space left on device", "device", False),
        ("couldn't create file: Read-only file system", "device", False),
        ("couldn't create file: Permission denied", "device", False),
        ("device '0123456789' not found", "infrastructure", True),
        ("closed", "infrastructure", True),
        ("[Errno 104] Connection reset by peer", "infrastructure", True),
        ("adb read timeout", "infrastructure", True),
    ],
)
def test_what_adb_says(said: str, kind: str, retryable: bool) -> None:
    error = farm_error("R58M1", said)
    assert (error.kind, error.retryable) == (kind, retryable)
    assert "R58M1" in error.message and said in error.message


def test_every_row_of_adb_can_count() -> None:
    assert [row for row in ADB_WORDS if row.words and farm_error("s", row.words).kind != row.kind] == []
    assert ADB_WORDS[-1].words == ""


@pytest.mark.parametrize(("code", "kind"), [*INSTALL_CODES.items()])
@pytest.mark.parametrize(
    "words", ["Failure [{}]", "Failure [{}: some words]", "adb: failed to install x.apk: Failure [{}: x]"]
)
def test_codes_of_the_package_manager(code: str, kind: FailureKind, words: str) -> None:
    assert install_kind(words.format(code)) == (code, kind)


def test_other_refusals_of_the_package_manager() -> None:
    assert (
        install_kind("Failure [INSTALL_PARSE_FAILED_NO_CERTIFICATES: Failed to collect certificates]")[1]
        is FailureKind.TEST
    )
    assert install_kind("Failure [INSTALL_FAILED_OF_TOMORROW]") == ("INSTALL_FAILED_OF_TOMORROW", FailureKind.OTHER)
    assert install_kind("Error: java.lang.NullPointerException") == ("", FailureKind.OTHER)


def failed(folder: Path, files: dict[str, str], job: Any = PROGRAM, *, canceled: bool = False) -> JobFailure | None:
    """What became of an entry that left these files."""
    for name, text in files.items():
        path = folder / name if name == "script.log" else folder / "entries" / "0" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (entry,) = request_of(DEVICE, Entry("cell", cell_on(DEVICE), job)).entries
    return result_of(entry, DEVICE, LeftBehind(folder, 0, canceled, "R58M1")).failure


@pytest.mark.parametrize(
    ("files", "kind", "words"),
    [
        ({"rc": "0", "log": SUMMARY}, None, ""),
        ({"rc": "0", "log": "INFO: STARTING!\n"}, FailureKind.INFRASTRUCTURE, "before the summary"),
        ({"begun": "", "log": SUMMARY}, FailureKind.INFRASTRUCTURE, "lost while it ran"),
        ({}, FailureKind.INFRASTRUCTURE, "not reached"),
        ({"rc": "139", "log": "INFO: STARTING!\n", "logcat": FATAL}, FailureKind.TEST, "SIGSEGV"),
        ({"rc": "134"}, FailureKind.TEST, "SIGABRT"),
        ({"rc": "132"}, FailureKind.TEST, "SIGILL"),
        ({"rc": "135"}, FailureKind.TEST, "SIGBUS"),
        ({"script.log": "sh: date: not found"}, FailureKind.INFRASTRUCTURE, "date: not found"),
        (
            {"rc": "137", "logcat": KILL.replace("org.tensorflow.lite.benchmark", "benchmark_model")},
            FailureKind.TEST,
            "memory ran out",
        ),
        ({"rc": "137", "logcat": KILL}, FailureKind.TEST, "SIGKILL"),
        ({"rc": "137", "timed_out": ""}, FailureKind.TIMEOUT, "60 s"),
        ({"rc": "134", "log": "what(): std::bad_alloc"}, FailureKind.TEST, "memory ran out"),
        ({"rc": "1", "log": "ERROR: Failed to load model x\n"}, FailureKind.TEST, "Failed to load model x"),
        ({"rc": "1", "log": 'CANNOT LINK EXECUTABLE "b": library "libx.so" not found'}, FailureKind.DEVICE, "libx.so"),
        ({"rc": "126", "log": "sh: b: not executable: 32-bit ELF file"}, FailureKind.DEVICE, "32-bit"),
        ({"rc": "127", "log": "sh: b: inaccessible or not found"}, FailureKind.DEVICE, "not found"),
        ({"damaged": "/data/local/tmp/m"}, FailureKind.INFRASTRUCTURE, "/data/local/tmp/m"),
        ({"not_ready": "battery at 3 %, below 20 %"}, FailureKind.INFRASTRUCTURE, "battery at 3 %"),
        ({"rc": "0", "log": f"{SUMMARY}lowmemorykiller: Kill 'other'"}, None, ""),
    ],
)
def test_ends_of_programs(tmp_path: Path, files: dict[str, str], kind: FailureKind | None, words: str) -> None:
    found = failed(tmp_path, files)
    assert (found and found.kind) is kind
    assert found is None or words in found.message


@pytest.mark.parametrize(
    ("files", "kind", "words"),
    [
        ({"rc": "0", "log": f"11-30 10:00:00.000 1 1 I tflite: {SUMMARY}"}, None, ""),
        ({"rc": "137", "log": FATAL}, FailureKind.TEST, "SIGSEGV"),
        ({"rc": "137", "log": OTHERS_FATAL}, FailureKind.TEST, "ended with status 137"),
        ({"rc": "137", "logcat": KILL}, FailureKind.TEST, "memory ran out"),
        ({"rc": "1", "am": "Error type 3\nError: Activity class {a/b} does not exist."}, FailureKind.TEST, "not exist"),
        ({"rc": "1", "am": "INSTRUMENTATION_RESULT: shortMsg=Process crashed."}, FailureKind.TEST, "unknown signal"),
        (
            {"rc": "137", "log": "E AndroidRuntime: Process: org.tensorflow.lite.benchmark, PID: 4711"},
            FailureKind.TEST,
            "an uncaught exception",
        ),
        ({"install": "Failure [INSTALL_FAILED_NO_MATCHING_ABIS: res=-113]"}, FailureKind.DEVICE, "NO_MATCHING_ABIS"),
        ({"install": "Failure [INSTALL_PARSE_FAILED_NOT_APK]"}, FailureKind.TEST, "NOT_APK"),
    ],
)
def test_ends_of_apps(tmp_path: Path, files: dict[str, str], kind: FailureKind | None, words: str) -> None:
    found = failed(tmp_path, files, APP)
    assert (found and found.kind) is kind
    assert found is None or words in found.message


@pytest.mark.parametrize("files", [{}, {"begun": ""}, {"rc": "137"}])
def test_what_was_canceled(tmp_path: Path, files: dict[str, str]) -> None:
    found = failed(tmp_path, files, canceled=True)
    assert found is not None and found.kind is FailureKind.CANCELLED


def test_what_ended_before_it_was_canceled_counts(tmp_path: Path) -> None:
    assert failed(tmp_path, {"rc": "0", "log": SUMMARY}, canceled=True) is None


def test_a_failure_keeps_its_phone_and_the_end_of_its_log(tmp_path: Path) -> None:
    found = failed(tmp_path, {"rc": "1", "log": "".join(f"line {n}\n" for n in range(100))})
    assert found is not None
    assert (found.instance, found.detail.splitlines()[-1], len(found.detail.splitlines())) == ("R58M1", "line 99", 30)
