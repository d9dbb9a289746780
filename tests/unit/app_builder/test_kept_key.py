"""The signing key that is made once and kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from windtunnel.app_builder.adapters.keyfile import kept_key, load_key
from windtunnel.errors import InvalidInput

SCRIPT = """
import pathlib, sys
from windtunnel.app_builder.adapters.keyfile import kept_key
sys.stdin.read()
print(kept_key(pathlib.Path(sys.argv[1])).certificate_sha256)
"""


@pytest.mark.heavy
def test_processes_that_come_at_once_agree(tmp_path: Path) -> None:
    path = tmp_path / "home/android-signing.pem"
    command = [sys.executable, "-c", SCRIPT, str(path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    # Each waits for the end of its input: they begin together.
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    answers = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert answers == {kept_key(path).certificate_sha256}
    assert [file.name for file in path.parent.iterdir()] == ["android-signing.pem"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "android-signing.pem"
    kept_key(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InvalidInput, match=r"android-signing\.pem: signing key cannot be read") as caught:
        kept_key(path)
    assert "remove it" in caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.pem cannot be read"):
        load_key(tmp_path / "nowhere.pem", tmp_path / "nowhere.pem")
