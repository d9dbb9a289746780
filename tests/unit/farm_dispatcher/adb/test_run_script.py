"""The script of a farm run: it is one for a plain shell, and no text of a job is more than a word in it."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from support.farm_jobs import cell_on, request_of
from windtunnel.artifacts import ArtifactRef
from windtunnel.farm_dispatcher.adapters.adb.run_script import Waits, script_of, word
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts
from windtunnel.farm_dispatcher.domain.farm_settings import AdbSettings
from windtunnel.farm_dispatcher.domain.jobs import AppJob, Entry, ExecutableJob, FarmRunRequest, Job, PushedFile

DEVICE = Device("bench", "Pixel 8", "android", "15", ("xnnpack", "cpu"), DeviceFacts("Pixel 8"))
BLOB, OTHER = ArtifactRef("a" * 64, 10), ArtifactRef("b" * 64, 10)
HOSTILE = "a b'c\"d$(touch /x)`e`;f&g|h>i\\j\nk*?"
PROGRAM: dict[str, Any] = {
    "model": PushedFile(BLOB, "/data/local/tmp/x/model.tflite"),
    "binary": PushedFile(OTHER, "/data/local/tmp/benchmark_model"),
}
APP: dict[str, Any] = {"package": BLOB, "platform": "android", "package_name": "a.b", "model_sha256": "c" * 64}


def request(*jobs: Job, **cell: Any) -> FarmRunRequest:
    entries = (Entry(f"cell-{n}", cell_on(DEVICE, **cell), job) for n, job in enumerate(jobs))
    return request_of(DEVICE, *entries)


def script(*jobs: Job, **settings: Any) -> str:
    return script_of(request(*jobs), AdbSettings(name="bench", **settings), Waits())


@pytest.mark.parametrize(
    "text", ["", "plain", HOSTILE, "/data/local/tmp", "--graph=/data/local/tmp/it's/m.tflite", "-n"]
)
def test_a_word_stays_one_word(text: str) -> None:
    command = f"T=/data/local/tmp; printf '[%s]' {word(text)}"
    assert subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout == f"[{text}]"


def test_the_folder_of_jobs_is_named_once() -> None:
    text = script(ExecutableJob(**PROGRAM, arguments=("--graph=/data/local/tmp/x/model.tflite",)))
    assert "/data/local/tmp" not in text
    command = f"T=/elsewhere; printf '[%s]' {word('--graph=/data/local/tmp/x')}"
    assert (
        subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
        == "[--graph=/elsewhere/x]"
    )


@pytest.mark.parametrize(
    "job",
    [
        ExecutableJob(**PROGRAM),
        ExecutableJob(
            **PROGRAM,
            arguments=(HOSTILE,),
            environment={"A": HOSTILE},
            pull=(HOSTILE,),
            files=(PushedFile(BLOB, HOSTILE),),
        ),
        AppJob(**APP, kind="activity", arguments={"args": HOSTILE}),
        AppJob(**APP, kind="game_loop", scenarios=(3,), files=(PushedFile(OTHER, "/sdcard/x"),)),
        AppJob(**APP, kind="instrumentation", test_package=OTHER),
    ],
)
def test_every_script_is_one(job: Job) -> None:
    text = script(job, job, airplane=True, cool_down_seconds=1.5)
    done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_settings_reach_the_phone() -> None:
    text = script(
        ExecutableJob(**PROGRAM), min_battery_percent=33, max_celsius=38.5, cool_down_seconds=180, airplane=True
    )
    assert {"MIN_BATTERY=33", "MAX_HEAT=385", "COOL_DOWN=180", "AIRPLANE=1"} <= set(text.splitlines())


def test_what_the_phone_cannot_run_is_not_in_it() -> None:
    made = request(ExecutableJob(**PROGRAM), accelerator="hexagon")
    assert "start 0" not in script_of(made, AdbSettings(name="bench"), Waits())
    assert "start 0" not in script(ExecutableJob(model=PROGRAM["model"]))
    assert "start 0" not in script(AppJob(**{**APP, "platform": "ios"}, kind="xctest"))


def test_libraries_are_looked_for_where_they_are_pushed() -> None:
    libraries = (PushedFile(BLOB, "/data/local/tmp/lib/libQnnHtp.so"), PushedFile(OTHER, "/data/local/tmp/x/data.bin"))
    assert 'LD_LIBRARY_PATH="$T":"$T"/lib' in script(ExecutableJob(**PROGRAM, files=libraries)).replace("''", "")
    given = script(ExecutableJob(**PROGRAM, environment={"LD_LIBRARY_PATH": "/vendor/lib64"}))
    assert "LD_LIBRARY_PATH=/vendor/lib64" in given
