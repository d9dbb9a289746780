"""Archives, honest and hostile."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from windtunnel.artifacts import unpack
from windtunnel.errors import InvalidInput

MIB = 1024 * 1024
Extract = Callable[..., Path]
FILES = {"saved_model.pb": b"graph" * 1000, "variables/index": b"i", "variables/empty": b"", "aligned": bytes(1024)}


def tar_bytes(members: list[tuple[tarfile.TarInfo, bytes]], *, compress: bool = False) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz" if compress else "w") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tar_member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    return info, data


def zip_bytes(files: dict[str, bytes], modes: dict[str, int] | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, 0o100644) << 16
            archive.writestr(info, data)
    return out.getvalue()


def honest(kind: str) -> bytes:
    if kind == "zip":
        return zip_bytes(FILES)
    return tar_bytes([tar_member(name, data) for name, data in FILES.items()], compress=kind == "tar.gz")


@pytest.fixture
def extract(tmp_path: Path) -> Extract:
    """Unpacks bytes under small limits, and leaves nothing half-made."""

    def run(data: bytes, *, max_bytes: int = MIB, max_files: int = 20) -> Path:
        (tmp_path / "archive").write_bytes(data)
        target = tmp_path / "out" / "target"
        try:
            return unpack(tmp_path / "archive", target, max_bytes=max_bytes, max_files=max_files)
        except InvalidInput:
            assert list((tmp_path / "out").glob("*")) == []
            raise

    return run


KINDS = pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])


@KINDS
def test_honest_archives_open(extract: Extract, kind: str) -> None:
    target = extract(honest(kind))
    assert {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()} == FILES


@KINDS
def test_every_truncation_is_seen(extract: Extract, kind: str) -> None:
    whole = honest(kind)
    end = len(whole) - (10240 - 512) if kind == "tar" else len(whole) - 1
    for length in {0, 1, 100, 511, 512, 513, 1024, end // 2, end // 512 * 512, end - 600, end - 1, end} & set(
        range(end)
    ):
        with pytest.raises(InvalidInput):
            extract(whole[:length])


@pytest.mark.heavy
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["zip", "tar", "tar.gz"]))
def test_damage_gives_an_error_of_ours_or_a_tree_within_limits(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str
) -> None:
    whole = bytearray(honest(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("damage")
    (folder / "archive").write_bytes(whole)
    try:
        target = unpack(folder / "archive", folder / "target", max_bytes=MIB, max_files=20)
    except InvalidInput:
        assert [path.name for path in folder.iterdir()] == ["archive"]
    else:
        assert sum(p.stat().st_size for p in target.rglob("*") if p.is_file()) <= MIB


BAD_NAMES = ["../evil", "a/../../evil", "/evil", "C:/evil", "a\\..\\evil", "a/.."]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_leave_the_target_are_refused(extract: Extract, name: str) -> None:
    with pytest.raises(InvalidInput):
        extract(zip_bytes({name: b"x"}))
    for compress in (False, True):
        with pytest.raises(InvalidInput):
            extract(tar_bytes([tar_member(name, b"x")], compress=compress))


@pytest.mark.parametrize("to", ["../../evil", "/etc/passwd", "", "missing", "loop"])
def test_links_that_leave_the_target_are_refused(extract: Extract, to: str) -> None:
    with pytest.raises(InvalidInput):
        extract(zip_bytes({"a": b"x", "loop": to.encode()}, {"loop": 0o120777}))
    with pytest.raises(InvalidInput):
        extract(tar_bytes([tar_member("a", b"x"), tar_member("loop", kind=tarfile.SYMTYPE, link=to)]))


def test_links_that_leave_the_target_only_together_are_refused(extract: Extract) -> None:
    members = [
        tar_member("deep/file", b"x"),
        tar_member("deep/up", kind=tarfile.SYMTYPE, link=".."),
        tar_member("out", kind=tarfile.SYMTYPE, link="deep/up/../../archive"),
    ]
    with pytest.raises(InvalidInput):
        extract(tar_bytes(members))


def test_nothing_is_written_through_a_link(extract: Extract, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    members = [tar_member("l", kind=tarfile.SYMTYPE, link=str(tmp_path / "victim")), tar_member("l/x", b"owned")]
    with pytest.raises(InvalidInput):
        extract(tar_bytes(members))
    assert not any((tmp_path / "victim").iterdir())


def test_links_inside_the_target_are_kept(extract: Extract) -> None:
    members = [
        tar_member("d/file", b"x"),
        tar_member("soft", kind=tarfile.SYMTYPE, link="d/file"),
        tar_member("hard", kind=tarfile.LNKTYPE, link="d/file"),
    ]
    target = extract(tar_bytes(members))
    assert (target / "soft").read_bytes() == (target / "hard").read_bytes() == b"x"


@pytest.mark.parametrize("to", ["/etc/passwd", "../archive", "absent", "hard"])
def test_hard_links_lead_to_earlier_files_only(extract: Extract, to: str) -> None:
    with pytest.raises(InvalidInput):
        extract(tar_bytes([tar_member("hard", kind=tarfile.LNKTYPE, link=to)]))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(extract: Extract, kind: bytes) -> None:
    with pytest.raises(InvalidInput, match="device"):
        extract(tar_bytes([tar_member("dev", kind=kind)]))
    with pytest.raises(InvalidInput, match="device"):
        extract(zip_bytes({"dev": b""}, {"dev": 0o010644}))


def test_duplicate_names_are_refused(extract: Extract) -> None:
    for first, second in (("a", "a"), ("a", "./a"), ("a", "a/b"), ("a/b", "a")):
        with pytest.raises(InvalidInput):
            extract(tar_bytes([tar_member(first, b"1"), tar_member(second, b"2")]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a", b"1")
            archive.writestr("a", b"2")
    with pytest.raises(InvalidInput, match="twice"):
        extract(out.getvalue())


@KINDS
def test_limits(extract: Extract, kind: str) -> None:
    with pytest.raises(InvalidInput, match="3 members"):
        extract(honest(kind), max_files=3)
    size = sum(map(len, FILES.values()))
    with pytest.raises(InvalidInput, match="bytes"):
        extract(honest(kind), max_bytes=size - 1)
    extract(honest(kind), max_bytes=size, max_files=4)


def test_bombs_stop_at_the_limit(extract: Extract) -> None:
    with pytest.raises(InvalidInput, match="1048576 bytes"):
        extract(zip_bytes({"bomb": bytes(8 * MIB)}))
    with pytest.raises(InvalidInput, match="1048576 bytes"):
        extract(tar_bytes([tar_member("bomb", bytes(8 * MIB))], compress=True))
    with pytest.raises(InvalidInput, match="limit"):
        extract(gzip.compress(gzip.decompress(honest("tar.gz")) + bytes(8 * MIB)))


def test_a_zip_that_lies_about_its_size_is_refused(extract: Extract) -> None:
    data = bytearray(zip_bytes({"bomb": bytes(8 * MIB)}))
    directory = data.index(b"PK\x01\x02")
    struct.pack_into("<L", data, directory + 24, 10)
    struct.pack_into("<L", data, 22, 10)
    with pytest.raises(InvalidInput):
        extract(bytes(data))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE, tarfile.XGLTYPE])
def test_a_header_that_claims_10_gb_fails_fast(extract: Extract, kind: bytes) -> None:
    info = tarfile.TarInfo("claim")
    info.type, info.size = kind, 10 * 1024**3
    for data in (
        info.tobuf(tarfile.GNU_FORMAT) + bytes(4096),
        gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096)),
    ):
        with pytest.raises(InvalidInput):
            extract(data)


def test_a_chain_of_headers_does_not_exhaust_the_stack(extract: Extract) -> None:
    info = tarfile.TarInfo("longname")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 4
    block = info.tobuf(tarfile.GNU_FORMAT) + b"name" + bytes(508)
    with pytest.raises(InvalidInput):
        extract(gzip.compress(block * 3000), max_bytes=100 * MIB)


def test_encrypted_members_are_refused(extract: Extract) -> None:
    data = bytearray(zip_bytes({"a": b"x"}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InvalidInput, match="encrypted"):
        extract(bytes(data))


def test_what_is_no_archive_is_refused(extract: Extract) -> None:
    for data in (b"", b"hello", bytes(2048), gzip.compress(b"text")):
        with pytest.raises(InvalidInput):
            extract(data)


def test_an_existing_target_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(honest("zip"))
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "mine").write_bytes(b"mine")
    with pytest.raises(InvalidInput, match="exists"):
        unpack(tmp_path / "a.zip", tmp_path / "target", max_bytes=MIB, max_files=20)
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["mine"]
