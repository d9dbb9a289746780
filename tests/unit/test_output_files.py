"""The file that the name of an output stands for, and safe names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from windtunnel.cli.commands.models.layers import _alone
from windtunnel.cli.io.files import write_whole
from windtunnel.cli.io.output_guard import require_free
from windtunnel.errors import Conflict, InvalidInput
from windtunnel.output_files import open_part, output_target, put_in_place, safe_file_name


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to("there/real")
    with pytest.raises(Conflict, match="link already exists"):
        require_free(link, force=False)
    require_free(link, force=True)
    write_whole(link, b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    real.unlink()
    require_free(link, force=False)
    write_whole(link, b"made", force=False)
    assert link.is_symlink() and real.read_bytes() == b"made"
    assert [path.name for path in real.parent.iterdir()] == ["real"]


def test_a_link_to_a_fifo_or_an_open_stream_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    made = tmp_path / "made"
    made.write_bytes(b"new")
    with (tmp_path / "redirected").open("wb") as stream:
        for name, goal in (
            ("to-fifo", "fifo"),
            ("to-device", "/dev/null"),
            ("stdout", f"/proc/self/fd/{stream.fileno()}"),
            ("stderr", f"/dev/fd/{stream.fileno()}"),
        ):
            link = tmp_path / name
            link.symlink_to(goal)
            for force in (True, False):
                with pytest.raises(Conflict, match=f"{name} is not a regular file"):
                    require_free(link, force=force)
            with pytest.raises(Conflict, match=f"{name} is not a regular file"):
                put_in_place(made, link, force=True)
            with pytest.raises(Conflict, match=f"{name} is not a regular file"):
                write_whole(link, b"new")
            assert link.readlink() == Path(goal)
    assert (tmp_path / "redirected").read_bytes() == b""


def test_links_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(InvalidInput, match=r"round cannot be accessed: Too many levels"):
        output_target(tmp_path / "round")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ssd-3.v2", "ssd-3.v2"),
        ("..", "__"),
        (".", "_"),
        ("", "_"),
        (".hidden", "_hidden"),
        ("../a/b", "___a_b"),
        ("模" * 100, "_" * 100),
        ("a" * 300, "a" * 100),
        ("a\nb\0c", "a_b_c"),
    ],
)
def test_safe_file_names(text: str, name: str) -> None:
    assert safe_file_name(text) == name


def test_an_unfinished_output_never_leads_elsewhere(tmp_path: Path) -> None:
    part, other = tmp_path / "m.part", tmp_path / "other"
    other.write_bytes(b"mine")
    part.symlink_to(other)
    with pytest.raises(InvalidInput, match=r"m\.part, .* not a regular file"):
        open_part(part)
    with pytest.raises(InvalidInput, match=r"m\.part, .* not a regular file"), _alone(part):
        raise AssertionError("it is held")
    part.unlink()
    os.mkfifo(part)
    with pytest.raises(InvalidInput, match=r"m\.part, .* not a regular file"):
        open_part(part)
    part.unlink()
    with open_part(part) as file:
        file.write(b"new")
    assert part.read_bytes() == b"new" and other.read_bytes() == b"mine"
    with pytest.raises(InvalidInput, match="cannot be written: No such file"):
        open_part(tmp_path / "missing" / "m.part")
