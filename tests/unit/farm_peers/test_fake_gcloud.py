"""The simulated gcloud: the flags it takes, what it prints, and that an executable really runs."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.farm_peers.google.benchmark_program import write_program
from support.farm_peers.google.fake_gcloud import CallFault, FakeGcloud, SessionBehavior
from support.farm_peers.google.gcloud_flags import Given, split_list
from support.farm_peers.google.server import GooglePeer, google_peer
from support.graphs import dense_model
from windtunnel.log_parser import parse_log

SESSIONS = ("beta", "device-run", "sessions")
SUBMIT = (*SESSIONS, "submit", "android-executable")
BUCKET = "my-bucket"


@pytest.fixture
def peer() -> Iterator[GooglePeer]:
    with google_peer(BUCKET) as started:
        yield started


@pytest.fixture
def gcloud(peer: GooglePeer, tmp_path: Path) -> FakeGcloud:
    return FakeGcloud(tmp_path / "gcloud", peer.url, BUCKET)


def call(gcloud: FakeGcloud, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([gcloud.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*SUBMIT, "--gadget=1"), "unrecognized arguments: --gadget=1"),
        ((*SUBMIT, "--device=shiba-34"), "argument --executable: Must be specified"),
        ((*SESSIONS, "wait"), "argument SESSION: Must be specified"),
        ((*SESSIONS, "wait", "s", "--async"), "unrecognized arguments: --async"),
        (("beta", "device-run", "phones"), "Invalid choice"),
        ((*SUBMIT, "--device=a", "--executable=x", "--project=p", "--other-files-to-push=nothing"), "dict arg"),
    ],
)
def test_other_command_lines_are_refused_as_gcloud_does(
    gcloud: FakeGcloud, arguments: tuple[str, ...], words: str
) -> None:
    refused = call(gcloud, *arguments)
    assert refused.returncode == 2
    assert refused.stderr.startswith("ERROR: (gcloud.beta.") and words in refused.stderr


def test_lists_may_have_another_delimiter() -> None:
    assert split_list("a,b") == ["a", "b"]
    assert split_list("^;^a,b;c") == ["a,b", "c"]
    given = Given(SUBMIT, {"labels": ["a=1,b=2", "c=x=y"]})
    assert given.pairs("labels") == {"a": "1", "b": "2", "c": "x=y"}


@pytest.mark.heavy
def test_an_executable_runs_and_what_it_wrote_is_pulled(gcloud: FakeGcloud, peer: GooglePeer, tmp_path: Path) -> None:
    program, model = write_program(tmp_path / "bm"), dense_model(tmp_path / "m.tflite")
    script = tmp_path / "run.sh"
    script.write_text(
        "#!/system/bin/sh\ncd /data/local/tmp && chmod 755 bm && mkdir out\n"
        'exec ./bm --graph=/data/local/tmp/m "$@" > /data/local/tmp/out/log 2>&1\n'
    )
    pushes = f"{program}=/data/local/tmp/bm,{model}=/data/local/tmp/m"
    done = call(
        gcloud, *SUBMIT, "--project=p", "--async", "--device=shiba-34", f"--executable={script}",
        "--executable-args=--num_threads=2", f"--other-files-to-push={pushes}",
        "--paths-to-pull=/data/local/tmp/out", "--labels=key=k1",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    session = done.stderr.split("Creating session [")[1].split("]")[0]
    about = (*SESSIONS, "describe", session, "--project=p", "--format=json")
    assert call(gcloud, *about).stdout == f"Session [{session}] status is [PENDING].\n"
    gcloud.advance(60)
    report = json.loads(call(gcloud, *about, "--full").stdout)["sessionReport"]
    (job,) = report["jobReports"]
    assert (job["result"]["resultType"], job["labels"]) == ("PASSED", {"key": "k1"})
    paths = [one["gcsOutputFile"]["path"] for one in job["executionReports"][0]["outputFiles"]]
    (log,) = [path for path in paths if path.endswith("/artifacts/data/local/tmp/out/log")]
    assert parse_log((peer.buckets.read(log) or b"").decode()).runs[0].threads == 2
    (received,) = gcloud.state()["received"]
    assert received["files"]["/data/local/tmp/m"] == hashlib.sha256(model.read_bytes()).hexdigest()


def test_what_the_service_refuses(gcloud: FakeGcloud, tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text("#!/system/bin/sh\nexit 1\n")
    given = ("--project=p", "--async", f"--executable={script}")
    unknown = call(gcloud, *SUBMIT, *given, "--device=nothing-1")
    assert (unknown.returncode, "INVALID_ARGUMENT" in unknown.stderr) == (1, True)
    gcloud.fail(CallFault("android-executable", "ERROR: RESOURCE_EXHAUSTED: Quota exceeded", lost=True))
    assert call(gcloud, *SUBMIT, *given, "--device=shiba-34").returncode == 1
    (session,) = gcloud.state()["sessions"]
    name = session["name"].rpartition("/")[2]
    gcloud.behave(SessionBehavior(created_after_s=5))
    call(gcloud, *SUBMIT, *given, "--device=shiba-34")
    assert len(json.loads(call(gcloud, *SESSIONS, "list", "--project=p", "--format=json").stdout)) == 1
    assert call(gcloud, *SESSIONS, "cancel", name, "--project=p").returncode == 0
    assert "FAILED_PRECONDITION" in call(gcloud, *SESSIONS, "cancel", name, "--project=p").stderr
    assert "NOT_FOUND" in call(gcloud, *SESSIONS, "describe", "other", "--project=p").stderr
