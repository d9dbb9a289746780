"""Packages for iOS: what is in them, what stays of the base app, and base apps that are refused.

Cases with a repository and a number come from public reports.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.apple_programs import SIGNED, UNSIGNED, encrypted, fat, for_simulator
from support.base_apk import apk_bytes, pinned
from support.base_ipa import BUNDLE, ROOT, app_files, info, ipa_bytes, with_program
from windtunnel.app_builder import AppFacts, AppKind, BenchmarkConfig, BuildRequest, BuiltApp, Platform, build
from windtunnel.errors import InvalidInput, Unsupported, WindtunnelError

Attempt = Callable[[bytes], BuiltApp]
WHOLE = ipa_bytes()
CONFIG = BenchmarkConfig(None, "int8", accelerator="coreml", num_threads=2, arguments=("--input_layer=image",))


@pytest.fixture
def attempt(model: Path, tmp_path: Path) -> Attempt:
    def run(data: bytes) -> BuiltApp:
        base = pinned(tmp_path / "base.ipa", data)
        return build(BuildRequest(Platform.IOS, model, CONFIG, tmp_path / "out.ipa", base))

    return run


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_model_and_its_arguments_are_in_benchmark_data(attempt: Attempt, model: Path) -> None:
    built = attempt(ipa_bytes())
    files = contents(built.path)
    assert files[f"{ROOT}benchmark_data/model.tflite"] == model.read_bytes()
    assert json.loads(files[f"{ROOT}benchmark_data/benchmark_params.json"]) == {
        "benchmark_name": "int8", "graph": "model.tflite", "num_runs": "50", "warmup_runs": "1", "num_threads": "2",
        "use_coreml": "true", "input_layer": "image",
    }  # fmt: skip
    assert built.facts == AppFacts(AppKind.ACTIVITY, BUNDLE, "14.0", ("arm64",))
    assert built.signatures == ()


def test_an_unsigned_app_keeps_all_but_its_old_signature(attempt: Attempt) -> None:
    files = contents(attempt(ipa_bytes(extra={"iTunesMetadata.plist": b"x"})).path)
    kept = {f"{ROOT}{path}": data for path, data in app_files().items() if not path.startswith("_CodeSignature")}
    added = {f"{ROOT}benchmark_data/{name}" for name in ("model.tflite", "benchmark_params.json")}
    assert files.keys() == {*kept, *added, "iTunesMetadata.plist"}
    assert {name: files[name] for name in kept} == kept


def test_parameters_in_the_root_are_replaced_where_the_app_reads_them(attempt: Attempt) -> None:
    files = contents(attempt(ipa_bytes({**app_files(), "benchmark_params.json": b"{}"})).path)
    assert json.loads(files[f"{ROOT}benchmark_params.json"])["graph"] == "benchmark_data/model.tflite"
    assert json.loads(files[f"{ROOT}benchmark_data/benchmark_params.json"])["graph"] == "model.tflite"


def test_what_the_base_has_in_benchmark_data_is_replaced(attempt: Attempt, model: Path) -> None:
    old = {"benchmark_data/model.tflite": b"old", "benchmark_data/benchmark_params.json": b"old"}
    files = contents(attempt(ipa_bytes({**app_files(), **old})).path)
    assert files[f"{ROOT}benchmark_data/model.tflite"] == model.read_bytes()


def test_the_same_request_gives_the_same_bytes(attempt: Attempt) -> None:
    assert attempt(ipa_bytes()).sha256 == attempt(ipa_bytes()).sha256


def modes(path: Path) -> dict[str, int]:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename.removeprefix(ROOT): entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}


def test_permissions_that_windows_did_not_write_are_added(attempt: Attempt) -> None:
    """SideStore/AltSign#13: without permissions nobody can read the app."""
    found = modes(attempt(ipa_bytes(unix=False)).path)
    assert (found["TFLiteBenchmark"], found["Info.plist"]) == (0o755, 0o644)
    assert 0 not in found.values()


def test_the_program_is_executable(attempt: Attempt) -> None:
    """maciekish/iReSign#45, utmapp/UTM#209: CFBundleExecutable is not executable."""
    stream = io.BytesIO(ipa_bytes())
    with zipfile.ZipFile(stream) as archive:
        held = [(entry, archive.read(entry)) for entry in archive.infolist()]
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for entry, data in held:
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data)
    assert modes(attempt(changed.getvalue()).path)["TFLiteBenchmark"] == 0o755


def test_other_files_in_payload_do_not_matter(attempt: Attempt) -> None:
    """ethandgoodhart/IPAEdit#4: a file next to the app was taken for it; zhlynn/zsign#111: traces of the Finder."""
    extra = {"Payload/decrypt.day": b"x", "Payload/.DS_Store": b"x", "__MACOSX/Payload/._A.app": b"x"}
    names = contents(attempt(ipa_bytes(extra=extra)).path)
    assert "Payload/decrypt.day" in names and not [name for name in names if "__MACOSX" in name]


def test_an_app_of_several_architectures(attempt: Attempt) -> None:
    built = attempt(with_program(fat(UNSIGNED, UNSIGNED)))
    assert built.facts is not None and built.facts.abis == ("arm64", "arm64e")


def linked() -> bytes:
    stream = io.BytesIO(ipa_bytes())
    with zipfile.ZipFile(stream, "a") as archive:
        entry = zipfile.ZipInfo(f"{ROOT}link")
        entry.create_system, entry.external_attr = 3, 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    return stream.getvalue()


REFUSED: dict[str, tuple[Callable[[], bytes], type[WindtunnelError], str, str]] = {
    "DanTheMan827/ios-app-signer#27 and #67, from the App Store": (
        lambda: with_program(encrypted()), Unsupported, "is encrypted (FairPlay)", "export it with Xcode",
    ),
    "encrypted in part": (lambda: with_program(fat(UNSIGNED, encrypted())), Unsupported, "FairPlay", "Xcode"),
    "simulator": (lambda: with_program(for_simulator()), InvalidInput, "for the simulator", "-sdk iphoneos"),
    "Qata/BarMagnet#48, payload in small letters": (
        lambda: ipa_bytes(root="payload/A.app/"), InvalidInput, "must be called 'Payload'", "rename",
    ),
    "DanTheMan827/ios-app-signer#29, an app without Payload": (
        lambda: ipa_bytes(root="A.app/"), InvalidInput, "is a zipped A.app, not an IPA", "zip -r",
    ),
    "archive of Xcode": (
        lambda: ipa_bytes(root="A.xcarchive/Products/Applications/A.app/"), InvalidInput, "zipped A.xcarchive", "zip",
    ),
    "two apps": (
        lambda: ipa_bytes(extra={"Payload/B.app/Info.plist": b""}), InvalidInput, "several apps: B.app, T", "Xcode",
    ),
    "no Info.plist": (
        lambda: ipa_bytes({"TFLiteBenchmark": SIGNED}), InvalidInput, "has no Info.plist", "Xcode",
    ),
    "no property list": (
        lambda: ipa_bytes({**app_files(), "Info.plist": b"hello"}), InvalidInput, "is not a property list", "Xcode",
    ),
    "damaged property list": (
        lambda: ipa_bytes({**app_files(), "Info.plist": b"bplist00" + b"\xff" * 9}), InvalidInput, "not a", "Xcode",
    ),
    "list as Info.plist": (
        lambda: ipa_bytes({**app_files(), "Info.plist": b"<plist><array/></plist>"}), InvalidInput, "not a dict", "X",
    ),
    "no program": (
        lambda: ipa_bytes({**app_files(), "Info.plist": info(executable="gone")}), InvalidInput, "'gone'", "Xcode",
    ),
    "program is text": (lambda: with_program(b"#!/bin/sh"), InvalidInput, "not a Mach-O file", "Xcode"),
    "program is cut": (lambda: with_program(UNSIGNED[:40]), InvalidInput, "damaged Mach-O file", "Xcode"),
    "apk": (apk_bytes, InvalidInput, "is an APK", "IPA"),
    "link": (linked, InvalidInput, "is a symbolic link", "Xcode"),
    "name in another encoding": (
        lambda: ipa_bytes({**app_files(), "grosse.txt": b""}).replace(b"grosse.txt", b"gr\xf6\xdfer.txt"),
        InvalidInput, "is not UTF-8", "Xcode",
    ),
    "nothing": (lambda: ipa_bytes({}, extra={"a.txt": b""}), InvalidInput, "no Payload/*.app", "Xcode"),
    "cut off": (lambda: ipa_bytes()[:-9], InvalidInput, "cut off", "as it was built"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_phone_runs_is_refused(case: str, attempt: Attempt, tmp_path: Path) -> None:
    make, kind, says, hint = REFUSED[case]
    with pytest.raises(kind) as caught:
        attempt(make())
    assert says in caught.value.message and hint in caught.value.hint
    assert "base.ipa" in caught.value.message
    assert not (tmp_path / "out.ipa").exists()


def test_a_decrypted_app_is_taken(attempt: Attempt) -> None:
    assert attempt(with_program(encrypted(cryptid=0))).facts is not None


def test_a_damaged_library_is_refused(attempt: Attempt) -> None:
    data = bytearray(ipa_bytes())
    at = data.index(b"Frameworks/libx.dylib") + 60
    data[at] ^= 0xFF
    with pytest.raises(InvalidInput, match=r"libx\.dylib' are damaged"):
        attempt(bytes(data))


@pytest.mark.heavy
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.booleans())
def test_a_damaged_base_app_is_refused_or_harmless(attempt: Attempt, position: int, value: int, cut: bool) -> None:
    data = WHOLE[:position] if cut else WHOLE[:position] + bytes([value]) + WHOLE[position + 1 :]
    try:
        built = attempt(data)
    except (InvalidInput, Unsupported):
        return
    assert not cut
    inside = {name: found for name, found in contents(built.path).items() if "benchmark_data" not in name}
    whole = {f"{ROOT}{path}": found for path, found in app_files().items()}
    assert all(whole.get(name, found) == found for name, found in inside.items())
