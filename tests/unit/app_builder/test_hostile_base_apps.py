"""Base apps that are broken, or made to be read in two ways."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.base_apk import MANIFEST, apk_bytes, pinned
from windtunnel.app_builder import BenchmarkConfig, BuildRequest, Platform, SigningKey, build
from windtunnel.errors import InvalidInput

GOOD = apk_bytes()


def central(data: bytes, name: bytes) -> int:
    """Offset of an entry's record in the directory."""
    return data.rindex(name) - 46


def patched(data: bytes, offset: int, form: str, *values: int) -> bytes:
    piece = struct.pack("<" + form, *values)
    return data[:offset] + piece + data[offset + len(piece) :]


def in_directory(offset: int, form: str, *values: int) -> bytes:
    return patched(GOOD, central(GOOD, b"classes.dex") + offset, form, *values)


def renamed(old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new)
    return GOOD.replace(old, new)


def with_junk_before() -> bytes:
    return b"#!/bin/sh\n" + GOOD


def overlapping() -> bytes:
    """Two records of the directory that point at the same data, under one name of equal length each."""
    data = apk_bytes({"classes2.dex": b"x" * 500})
    record = central(data, b"classes.dex")
    other = data.rindex(b"res/raw/odd.bin") - 46
    return patched(data, record + 42, "I", *struct.unpack("<I", data[other + 42 : other + 46]))


def zip64() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, archive.open("AndroidManifest.xml", "w", force_zip64=True) as file:
        file.write(b"x")
    data = stream.getvalue()
    return patched(data, data.rindex(b"PK\x05\x06") + 16, "I", 0xFFFFFFFF)


def twice() -> bytes:
    return apk_bytes({"classes3.dex": b"x", "classes4.dex": b"y"}).replace(b"classes4.dex", b"classes3.dex")


def bomb(*entries: int) -> bytes:
    """Entries of zeros, which deflate packs a thousand times smaller."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("AndroidManifest.xml", MANIFEST)
        for number, size in enumerate(entries):
            with archive.open(f"assets/{number}", "w") as file:
                for _ in range(size):
                    file.write(bytes(1 << 20))
    return stream.getvalue()


CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "not a zip": (lambda: b"#!/bin/sh\necho hello\n", "not a zip file"),
    "only an end": (lambda: b"PK\x05\x06" + bytes(18), "no AndroidManifest.xml"),
    "end cut off": (lambda: GOOD[:-1], "not a zip file, or cut off"),
    "half": (lambda: GOOD[: len(GOOD) // 2], "not a zip file, or cut off"),
    "beginning cut off": (lambda: GOOD[100:], "bytes are missing or added"),
    "junk before": (with_junk_before, "bytes are missing or added"),
    "junk behind": (lambda: GOOD + b"junk", "not a zip file, or cut off"),
    "parent folder": (lambda: renamed(b"classes.dex", b"../lass.dex"), "unsafe name"),
    "absolute": (lambda: renamed(b"classes.dex", b"/etc/passwd"), "unsafe name"),
    "windows": (lambda: renamed(b"classes.dex", b"C:\\asses.de"), "unsafe name"),
    "inner parent": (lambda: renamed(b"classes.dex", b"a/../../x.d"), "unsafe name"),
    "line break": (lambda: renamed(b"classes.dex", b"classes\ndex"), "unsafe name"),
    "null": (lambda: renamed(b"classes.dex", b"classes\0dex"), "unsafe name"),
    "twice": (twice, "'classes3.dex' is there twice"),
    "no manifest": (lambda: apk_bytes(manifest=False), "no AndroidManifest.xml"),
    "encrypted": (lambda: in_directory(8, "H", 1), "'classes.dex' is encrypted"),
    "method": (lambda: in_directory(10, "H", 14), "compressed by method 14"),
    "absurd size": (lambda: in_directory(24, "I", 0xFFFFFFF0), "absurd sizes"),
    "absurd compressed size": (lambda: in_directory(20, "I", 0x7FFFFFFF), "absurd sizes"),
    "size differs": (lambda: in_directory(24, "I", 10239), "differ on its size"),
    "zip64 entry": (lambda: in_directory(24, "I", 0xFFFFFFFF), "ZIP64"),
    "zip64": (zip64, "ZIP64"),
    "outside": (lambda: in_directory(42, "I", 0x7FFFFFFF), "outside the file"),
    "elsewhere": (lambda: in_directory(42, "I", 7), "is not where the directory says"),
    "other entry": (overlapping, "is not where the directory says"),
    "directory damaged": (lambda: patched(GOOD, central(GOOD, b"classes.dex"), "I", 0), "directory is damaged"),
    "count": (lambda: patched(GOOD, len(GOOD) - 14, "HH", 3, 3), "after its last entry"),
    "split": (lambda: patched(GOOD, len(GOOD) - 18, "H", 1), "split archive"),
}


@pytest.fixture
def attempt(
    model: Path, config: BenchmarkConfig, tmp_path: Path, rsa_key: SigningKey
) -> Callable[[bytes], zipfile.ZipFile]:
    def run(data: bytes) -> zipfile.ZipFile:
        base = pinned(tmp_path / "base.apk", data)
        request = BuildRequest(Platform.ANDROID, model, config, tmp_path / "out.apk", base)
        return zipfile.ZipFile(build(request, rsa_key).path)

    return run


@pytest.mark.parametrize("case", CASES)
def test_a_bad_base_app_is_refused_by_name(case: str, attempt: Callable[[bytes], zipfile.ZipFile]) -> None:
    make, says = CASES[case]
    with pytest.raises(InvalidInput) as caught:
        attempt(make())
    assert says in str(caught.value)
    assert "base.apk" in str(caught.value)
    assert caught.value.hint


def test_entries_that_overlap_are_refused(attempt: Callable[[bytes], zipfile.ZipFile]) -> None:
    """The data of a stored entry may itself look like an entry."""
    inner = apk_bytes()
    start = inner.index(b"PK\x03\x04")
    local = inner[start : inner.index(b"PK\x03\x04", start + 4)]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("AndroidManifest.xml", b"m")
        archive.writestr("outer.bin", local)
        archive.writestr("resources.arsc", b"resources " * 333)
    data = stream.getvalue()
    record = data.rindex(b"resources.arsc") - 46
    with pytest.raises(InvalidInput, match="overlap"):
        attempt(patched(data, record + 42, "I", data.index(b"PK\x03\x04", data.index(b"outer.bin"))))


@pytest.mark.heavy
@pytest.mark.parametrize("sizes", [[300], [3] * 90])
def test_a_zip_bomb_is_refused(sizes: list[int], attempt: Callable[[bytes], zipfile.ZipFile]) -> None:
    with pytest.raises(InvalidInput, match="as of a zip bomb"):
        attempt(bomb(*sizes))


def test_much_that_is_packed_well_is_no_bomb(attempt: Callable[[bytes], zipfile.ZipFile]) -> None:
    assert attempt(bomb(9)).getinfo("assets/0").file_size == 9 << 20


@pytest.mark.parametrize("change", ["crc", "data"])
def test_damaged_data_are_refused(change: str, attempt: Callable[[bytes], zipfile.ZipFile]) -> None:
    start = GOOD.index(b"lib/arm64-v8a/libbench.so") + 400
    data = bytearray(GOOD)
    data[start] ^= 1
    if change == "crc":
        data = bytearray(GOOD)
        for record in (GOOD.index(b"res/raw/odd.bin") - 30 + 14, central(GOOD, b"res/raw/odd.bin") + 16):
            data[record] ^= 1
    with pytest.raises(InvalidInput, match="are damaged"):
        attempt(bytes(data))


def test_a_comment_and_signing_block_of_the_base_app_are_dropped(attempt: Callable[[bytes], zipfile.ZipFile]) -> None:
    stream = io.BytesIO(GOOD)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.comment = b"PK\x05\x06 is in this comment"
    assert attempt(stream.getvalue()).comment == b""


@pytest.mark.heavy
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.booleans())
def test_a_damaged_base_app_is_refused_or_harmless(
    attempt: Callable[[bytes], zipfile.ZipFile], position: int, value: int, cut: bool
) -> None:
    data = GOOD[:position] if cut else GOOD[:position] + bytes([value]) + GOOD[position + 1 :]
    try:
        archive = attempt(data)
    except InvalidInput:
        return
    assert not cut
    assert "assets/windtunnel/model.tflite" in archive.namelist()
