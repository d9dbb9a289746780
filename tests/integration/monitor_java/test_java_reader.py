"""The Java reader: files that were damaged or cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.java_monitor import JavaMonitor, array

pytestmark = pytest.mark.heavy
IMAGE = np.linspace(-1, 1, 60 * 60 * 3, dtype=np.float32).reshape(60, 60, 3)


@pytest.fixture
def log(java: JavaMonitor, tmp_path: Path, arrays: Path) -> Path:
    """Ten chunks of one frame."""
    lines = ["frame", f"input\t\t{array(arrays, IMAGE)}", "close", "flush"] * 10
    java.run(tmp_path / "log", lines, level="io")
    (file,) = (tmp_path / "log").glob("*.mcap")
    return file


def chunks(data: bytes) -> list[tuple[int, int]]:
    """Begin and end of each chunk."""
    places, at = [], 8
    while at < len(data) - 8:
        length = int.from_bytes(data[at + 1 : at + 9], "little")
        if data[at] == 6:
            places.append((at, at + 9 + length))
        at += 9 + length
    return places


def read(java: JavaMonitor, folder: Path, variants: list[bytes]) -> list[tuple[list[int], list[str]]]:
    """Numbers of the frames that are read, and what the reader reports."""
    paths = []
    for number, data in enumerate(variants):
        paths.append(folder / f"variant{number}.mcap")
        paths[-1].write_bytes(data)
    return [
        ([int(line[1]) for line in lines if line[0] == "frame"], [line[1] for line in lines if line[0] == "problem"])
        for lines in java.dump("log", paths)
    ]


def test_a_flipped_bit_costs_one_chunk(java: JavaMonitor, log: Path, tmp_path: Path) -> None:
    data = log.read_bytes()
    places = chunks(data)
    assert len(places) == 10
    begin, end = places[3]
    # All bits of the opcode and the length, bits of the rest of the chunk's head, and of its records.
    flips = [(where, 1 << bit) for where in range(begin, begin + 5) for bit in range(8)]
    flips += [(where, 0x10) for where in (*range(begin + 5, begin + 49), begin + 60, begin + 1000, end - 1)]
    variants = []
    for where, flip in flips:
        damaged = bytearray(data)
        damaged[where] ^= flip
        variants.append(bytes(damaged))
    for (where, flip), (numbers, problems) in zip(flips, read(java, tmp_path, variants), strict=True):
        lost = set(range(10)) - set(numbers)
        assert lost <= {3}, f"byte {where - begin}, flip {flip}: {sorted(lost)} are lost"
        # Times and the size without compression, in the head of a chunk, have no check; nobody needs them.
        assert problems or begin + 9 <= where < begin + 33, f"byte {where - begin}, flip {flip}: nothing is reported"


def test_a_damaged_message_index_costs_nothing(java: JavaMonitor, log: Path, tmp_path: Path) -> None:
    data = log.read_bytes()
    _, end = chunks(data)[4]
    variants = [data[:where] + b"\xff" + data[where + 1 :] for where in range(end, end + 30)]
    for numbers, _ in read(java, tmp_path, variants):
        assert numbers == list(range(10))


def test_a_cut_file_has_all_whole_chunks(java: JavaMonitor, log: Path, tmp_path: Path) -> None:
    data = log.read_bytes()
    places = chunks(data)
    cuts = [0, 3, 8, 20, 4000, *(end + more for _, end in places for more in (-1, 0, 5)), len(data) - 1]
    for cut, (numbers, problems) in zip(cuts, read(java, tmp_path, [data[:cut] for cut in cuts]), strict=True):
        assert numbers == [number for number, (_, end) in enumerate(places) if end <= cut]
        whole = cut in {end for _, end in places} or cut == 8 or cut > places[-1][1] + 40
        assert whole or problems, f"cut at {cut}: nothing is reported"


def test_other_files_are_refused_with_words(java: JavaMonitor, tmp_path: Path) -> None:
    (numbers, problems), (_, other) = read(java, tmp_path, [b"not an MCAP file at all", _with_profile("ros2")])
    assert numbers == [] and "does not begin as an MCAP file" in problems[0]
    assert 'its profile is "ros2": it is not an edge log' in other[0]


def _with_profile(profile: str) -> bytes:
    content = len(profile).to_bytes(4, "little") + profile.encode() + bytes(4)
    return b"\x89MCAP0\r\n\x01" + len(content).to_bytes(8, "little") + content
