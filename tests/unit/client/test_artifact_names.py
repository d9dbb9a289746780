"""File names of artifacts: the server says them, and they must not lead out of the folder of a download."""

from __future__ import annotations

import pytest

from windtunnel.cli.commands.runs.artifacts import _targets
from windtunnel.client.artifacts import Artifact, read_artifact
from windtunnel.errors import InvalidInput
from windtunnel.v1 import artifacts_pb2, types_pb2

SHA256 = "ab" * 32


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("ssd-3-int8.tflite", "ssd-3-int8.tflite"),
        ("/etc/cron.d/job", "job"),
        ("../../.bashrc", ".bashrc"),
        ("a\\..\\b.log", "b.log"),
        ("x\x1b[31m\0.log", "x_[31m_.log"),
        ("..", SHA256),
        ("logs/", SHA256),
        ("", SHA256),
    ],
)
def test_a_file_name_has_no_folders(said: str, expected: str) -> None:
    message = artifacts_pb2.RunArtifact(kind="log", artifact=types_pb2.Artifact(sha256=SHA256), file_name=said)
    assert read_artifact(message).file_name == expected


@pytest.mark.parametrize(("count", "more"), [(2, False), (14, True)])
def test_what_to_do_where_more_than_one_artifact_matches(count: int, more: bool) -> None:
    found = [Artifact("log", f"{number:064x}", 1, f"{number}.log") for number in range(count)]
    with pytest.raises(InvalidInput, match=r"there is more than one artifact in run r-1: 0\.log, 1\.log") as refused:
        _targets(found, "artifact in run r-1", None)
    assert ("and 4 more" in refused.value.message) == more
    assert all(option in refused.value.hint for option in ("--variant", "--kind", "-o FOLDER/"))
