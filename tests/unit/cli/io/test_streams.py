"""A closed reader, a full disk and an interrupt end a command like other tools, not with the code of a verdict."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from windtunnel.cli.io.console import print_json
from windtunnel.cli.io.os_errors import error_message, os_error_message
from windtunnel.errors import InvalidInput, JobFailed

_COMMAND = (sys.executable, "-m", "windtunnel.cli")
_NUMBERS = "".join(f"unknown line {number}\n" for number in range(20_000))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "benchmark.log"
    path.write_text("STARTING!\nNum threads: [2]\nINFO: Initialized session in 12.5ms.\n" + _NUMBERS)
    return path


@pytest.mark.heavy
@pytest.mark.parametrize("arguments", [("parse-log", "{}"), ("parse-log", "{}", "--json"), ("--help",)])
def test_a_reader_that_has_gone_is_no_verdict(log: Path, arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*_COMMAND, *(one.format(log) for one in arguments)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.heavy
def test_a_reader_of_errors_that_has_gone_is_no_verdict(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*_COMMAND, "parse-log", str(tmp_path / "none.log")]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=writing, timeout=60)
    os.close(writing)
    assert done.returncode == 141


@pytest.mark.heavy
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_an_output_that_is_full_is_told(log: Path, options: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [*_COMMAND, "parse-log", str(log), *options]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: standard output cannot be written: No space left on device"
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_words_that_cannot_be_written_do_not_change_the_exit_code(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [*_COMMAND, "diff", "a", "b", "--threshold", "nan"]
        assert subprocess.run(command, stderr=full, timeout=60, cwd=tmp_path).returncode == 64


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_while_modules_are_loaded(tmp_path: Path, number: signal.Signals) -> None:
    """The first import of the command line sends the interrupt."""
    program = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'windtunnel.cli.main':\n"
        "            os.kill(os.getpid(), int(sys.argv[1]))\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from windtunnel.cli.__main__ import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", program, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.heavy
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_while_it_waits(tmp_path: Path, number: signal.Signals) -> None:
    command = [*_COMMAND, "parse-log", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(2)
        process.send_signal(number)
        error = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert error.strip() == "interrupted"


def test_json_is_printed_whole_or_not_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"layers": list(range(10_000)), "threshold": float("inf")})
    assert capsys.readouterr().out == ""
    print_json({"a": "ü"})
    assert capsys.readouterr().out == '{\n  "a": "ü"\n}\n'


def test_errors_of_the_system_name_the_file() -> None:
    message, hint = os_error_message(IsADirectoryError(errno.EISDIR, "Is a directory", "/tmp"))
    assert (message, hint) == ("/tmp: Is a directory", "check the path and its permissions")
    assert "TMPDIR" in os_error_message(OSError(errno.ENOSPC, "No space left on device"))[1]


def test_a_child_without_room_says_where_it_wanted_it() -> None:
    full = JobFailed("compare_models raised OSError: [Errno 28] No space left on device", how="exit")
    message, hint = error_message(full)
    assert message == "there was no disk space for temporary files"
    assert "TMPDIR" in hint and "free" in hint
    crash = JobFailed("make_parts died of SIGBUS", how="signal")
    assert error_message(crash)[0] == "make_parts died of SIGBUS"
    assert "TMPDIR" in error_message(crash)[1]
    assert error_message(InvalidInput("a", hint="b")) == ("a", "b")
