"""Outputs that would destroy each other, an input or a device are refused before the work."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from windtunnel.cli.io.files import read_json, write_whole
from windtunnel.cli.io.output_guard import require_distinct, require_free, require_outputs
from windtunnel.cli.main import cli
from windtunnel.errors import Conflict, InvalidInput, UserError


def test_two_outputs_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="named twice"):
        require_distinct((tmp_path / "a.html", None, tmp_path / "b" / ".." / "a.html"), ())


def _spelled(tmp_path: Path) -> list[Path]:
    """Names of one file."""
    file = tmp_path / "samples.npz"
    file.write_bytes(b"mine")
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "link.npz").symlink_to(file)
    (tmp_path / "second.npz").hardlink_to(file)
    dotted = tmp_path / "." / "none" / ".." / file.name
    return [file, dotted, tmp_path / "folder" / file.name, tmp_path / "link.npz", tmp_path / "second.npz"]


@pytest.mark.parametrize("number", range(5))
def test_an_output_over_an_input_however_it_is_spelled(tmp_path: Path, number: int) -> None:
    names = _spelled(tmp_path)
    with pytest.raises(click.UsageError, match="is an input"):
        require_outputs((names[number],), inputs=(None, names[0]), force=True)


def test_an_output_over_what_lies_in_a_folder_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    with pytest.raises(click.UsageError, match="is an input"):
        require_outputs((tmp_path / "saved_model.pb",), inputs=(tmp_path,), force=True)
    require_outputs((tmp_path / "new.tflite",), inputs=(tmp_path,), force=True)


def test_an_output_over_a_file_of_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt-7.data-00000-of-00001").write_bytes(b"weights")
    given = tmp_path / "model.ckpt-7"
    with pytest.raises(click.UsageError, match="is an input"):
        require_outputs((tmp_path / "model.ckpt-7.data-00000-of-00001",), inputs=(given,), force=True)
    require_outputs((tmp_path / "model.ckpt-7.tflite",), inputs=(given,), force=True)


def test_other_names_are_free(tmp_path: Path) -> None:
    require_outputs((tmp_path / "a", tmp_path / "b", None), inputs=(tmp_path / "c", None), force=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        "quantize m.tflite --variant float16 -o ./m.tflite --force",
        "quantize m.tflite --recipe r.json --calibration c.npz -o r.json --force",
        "remedy m.tflite v.tflite --samples c.npz -o m.tflite --force",
        "remedy m.tflite v.tflite --samples c.npz --recipe-out same.json -o same.json",
        "remedy m.tflite v.tflite --samples r.calibration.npz --recipe-out r.json --force",
        "convert m.tflite -o m.tflite --force",
        "convert m.keras --samples c.npz -o c.npz --force",
        "bench m.tflite --log m.tflite --force",
        "diff m.tflite v.tflite --samples c.npz --case c.npz --force",
        "diff m.tflite v.tflite --html o --node-data o",
        "layers log m.tflite --samples c.npz --out c.npz --force",
        "layers log m.tflite --samples c.npz --out m.tflite",
    ],
)
def test_no_command_writes_over_what_it_reads(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("m.tflite", "v.tflite", "m.keras", "c.npz", "r.json", "r.calibration.npz")
    for name in names:
        Path(name).write_text("mine")
    with pytest.raises(click.UsageError, match=r"is an input|named twice"):
        cli.main(command.split(), standalone_mode=False)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "mine")


@pytest.mark.parametrize("force", [True, False])
def test_a_device_is_not_replaced(force: bool) -> None:
    with pytest.raises(Conflict, match="not a regular file"):
        require_free(Path("/dev/null"), force=force)


def test_where_nothing_can_be_written_is_told_before_the_work() -> None:
    with pytest.raises(InvalidInput, match=r"/proc/m\.tflite cannot be written"):
        require_free(Path("/proc/m.tflite"), force=True)


def test_a_file_that_came_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    write_whole(path, b"first", force=False)
    with pytest.raises(Conflict, match="already exists"):
        write_whole(path, b"second", force=False)
    assert path.read_bytes() == b"first"
    write_whole(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "command",
    ["ops {}", "ops m.tflite --log {}", "bench {}", "convert {} -o o", "quantize m.tflite --recipe {}", "parse-log {}"],
)
def test_a_name_that_no_file_can_have_is_named(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.tflite").write_text("mine")
    with pytest.raises(UserError, match=r"x{300} cannot be accessed: File name too long"):
        cli.main(command.format("x" * 300).split(), standalone_mode=False)


def test_a_folder_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_text("mine")
    with pytest.raises(InvalidInput, match="cannot be read: Is a directory"):
        cli.main(["ops", str(tmp_path / "m.tflite"), "--log", str(tmp_path)], standalone_mode=False)


def test_what_never_ends_is_no_json() -> None:
    with pytest.raises(InvalidInput, match=r"recipe|larger"):
        read_json(Path("/dev/zero"), "recipe")
