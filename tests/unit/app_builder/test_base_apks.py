"""Base apps for Android: what they say of themselves, and those that no phone would install.

Cases with a repository and a number come from public reports.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.android_manifest import manifest
from support.apk_verifier import aligned
from support.base_apk import apk_bytes, pinned
from windtunnel.app_builder import (
    AppFacts,
    AppKind,
    BenchmarkConfig,
    BuildRequest,
    BuiltApp,
    Platform,
    SigningKey,
    TestAppRequest,
    build,
    build_test_app,
    platform_of_base,
)
from windtunnel.app_builder.adapters.android.binary_xml import NotBinaryXml
from windtunnel.app_builder.adapters.android.manifest import Manifest, read_manifest
from windtunnel.errors import InvalidInput, Unsupported, WindtunnelError

Attempt = Callable[..., BuiltApp]
RUNNER = "androidx.test.runner.AndroidJUnitRunner"


@pytest.fixture
def attempt(model: Path, config: BenchmarkConfig, tmp_path: Path, ec_key: SigningKey) -> Attempt:
    def run(data: bytes, key: SigningKey = ec_key, kind: AppKind | None = None) -> BuiltApp:
        base = pinned(tmp_path / "base.apk", data)
        return build(BuildRequest(Platform.ANDROID, model, config, tmp_path / "out.apk", base, kind), key)

    return run


def archive(**entries: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name, data in entries.items():
            made.writestr(name, data)
    return stream.getvalue()


def refused(case: dict[str, Any]) -> bytes:
    return apk_bytes(manifest=manifest(**case))


REFUSED: dict[str, tuple[bytes, type[WindtunnelError], str, str]] = {
    "app bundle": (
        archive(**{"BundleConfig.pb": b"", "base/manifest/AndroidManifest.xml": b"\n\x01"}),
        Unsupported, "Android App Bundle", "--mode=universal",
    ),
    "app bundle without configuration": (
        archive(**{"base/manifest/AndroidManifest.xml": b"\n\x01"}), Unsupported, "App Bundle", "bundletool",
    ),
    "apk set": (
        archive(**{"toc.pb": b"", "splits/base-master.apk": b"", "splits/base-arm64_v8a.apk": b""}),
        Unsupported, "an APK set (.apks) with splits/base-arm64_v8a.apk", "universal.apk",
    ),
    "xapk": (
        archive(**{"manifest.json": b"{}", "com.x.apk": b"", "config.arm64_v8a.apk": b""}),
        Unsupported, "an archive of APKs", "one APK",
    ),
    "config split": (refused({"plain": {"split": "config.arm64_v8a"}}), Unsupported, "split 'config.arm64_v8a'", "one"),
    "feature split": (refused({"plain": {"configForSplit": "feature"}}), Unsupported, "split 'feature'", "one APK"),
    "EFForg/apkeep#188, base of splits": (
        refused({"root": {"isSplitRequired": True}}), Unsupported, "does not run without them", "universal.apk",
    ),
    "iBotPeaches/Apktool#2276, splits required by the application": (
        refused({"application": {"isSplitRequired": True}}), Unsupported, "does not run without them", "universal.apk",
    ),
    "LuigiVampa92/xapk-to-apk#10, required split types": (
        refused({"root": {"requiredSplitTypes": "base__abi,base__density"}}),
        Unsupported, "does not run without them", "universal.apk",
    ),
    "google/bundletool#109, splits required by metadata": (
        refused({"metadata": {"com.android.vending.splits.required": True}}), Unsupported, "without them", "universal",
    ),
    "test only": (refused({"application": {"testOnly": True}}), InvalidInput, "testOnly", "assemble"),
    "no package": (refused({"package": ""}), InvalidInput, "names no package", "APK"),
    "source": (
        archive(**{"AndroidManifest.xml": b"<?xml version='1.0'?><manifest/>"}), InvalidInput, "plain XML", "as it was",
    ),
    "protobuf manifest": (archive(**{"AndroidManifest.xml": b"\n\x10\x08manifest"}), InvalidInput, "not binary", "as"),
    "empty manifest": (archive(**{"AndroidManifest.xml": b""}), InvalidInput, "damaged binary XML", "as it was"),
    "ipa": (archive(**{"Payload/A.app/Info.plist": b""}), InvalidInput, "is an IPA", "give an APK"),
    "nothing": (archive(**{"readme.txt": b"hello"}), InvalidInput, "so it is not an APK", "APK"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_phone_installs_alone_is_refused(case: str, attempt: Attempt, tmp_path: Path) -> None:
    data, kind, says, hint = REFUSED[case]
    with pytest.raises(kind) as caught:
        attempt(data)
    assert says in caught.value.message and hint in caught.value.hint
    assert "base.apk" in caught.value.message
    assert not (tmp_path / "out.apk").exists()


def test_a_metadata_that_requires_nothing_is_no_split(attempt: Attempt) -> None:
    for case in ({"metadata": {"com.android.vending.splits.required": False}}, {"root": {"isSplitRequired": False}}):
        assert attempt(refused(case)).signatures == ("v2", "v3")


@pytest.mark.parametrize("name", ["resources.arsc", "lib/x86_64/libtflite.so"])
def test_compressed_entries_that_phones_refuse_are_stored(name: str, attempt: Attempt) -> None:
    """Resources: iBotPeaches/Apktool#2922, silbinarywolf/zig-android-sdk#23, Lauriethefish/QuestPatcher#138; libraries:
    iBotPeaches/Apktool#1626, sisong/ApkDiffPatch#91.
    """
    content = b"\x02\x00\x0c\x00 resources " * 999
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("AndroidManifest.xml", manifest(application={"extractNativeLibs": False}))
        made.writestr("a", b"1")
        made.writestr(name, content)
    built = attempt(stream.getvalue())
    offset = aligned(built.path.read_bytes())[name]
    assert offset % (16384 if name.endswith(".so") else 4) == 0
    with zipfile.ZipFile(built.path) as after:
        assert after.testzip() is None
        assert after.read(name) == content


@pytest.mark.parametrize("extracts", [True, None])
def test_libraries_that_are_extracted_stay_compressed(extracts: bool | None, attempt: Attempt) -> None:
    application = {} if extracts is None else {"extractNativeLibs": extracts}
    built = attempt(apk_bytes({"lib/x86/libx.so": b"x" * 9999}, manifest=manifest(application=application)))
    with zipfile.ZipFile(built.path) as after:
        assert after.getinfo("lib/x86/libx.so").compress_type == zipfile.ZIP_DEFLATED


@pytest.mark.parametrize("utf8", [True, False])
def test_facts(utf8: bool, attempt: Attempt) -> None:
    data = apk_bytes({"lib/x86/libx.so": b"x", "lib/notes.so": b"", "assets/lib/mips/l.so": b""},
                     manifest=manifest("org.example.größe", min_sdk=26, utf8=utf8))  # fmt: skip
    assert attempt(data).facts == AppFacts(AppKind.ACTIVITY, "org.example.größe", "26", ("arm64-v8a", "x86"))


def test_the_game_loop_app_is_known_by_its_intent(attempt: Attempt) -> None:
    package = "org.tensorflow.lite.benchmark.firebase"
    data = apk_bytes(manifest=manifest(package, min_sdk=26, game_loop=True, metadata={"com.google.test.loops": 10}))
    facts = attempt(data, kind=AppKind.GAME_LOOP).facts
    assert facts == AppFacts(AppKind.GAME_LOOP, package, "26", ("arm64-v8a",), scenarios=10)
    with pytest.raises(InvalidInput, match="is of kind game_loop, not activity"):
        attempt(data, kind=AppKind.ACTIVITY)
    with pytest.raises(InvalidInput, match="is of kind activity, not game_loop") as caught:
        attempt(apk_bytes(), kind=AppKind.GAME_LOOP)
    assert "TEST_LOOP" in caught.value.hint


def test_an_instrumentation_is_two_apps_with_one_key(attempt: Attempt, tmp_path: Path, ec_key: SigningKey) -> None:
    app = attempt(apk_bytes())
    target = "org.tensorflow.lite.benchmark"
    test = apk_bytes(manifest=manifest(f"{target}.test", instrumentation=(RUNNER, target)))
    base = pinned(tmp_path / "test.apk", test)
    assert app.facts is not None
    built = build_test_app(TestAppRequest(base, app.facts.package_name, tmp_path / "t.apk"), ec_key)
    assert built.facts == AppFacts(AppKind.INSTRUMENTATION, f"{target}.test", "24", ("arm64-v8a",), RUNNER, target)
    assert built.model_sha256 == "" and built.signatures == app.signatures
    certificate = ec_key.certificate.tbs_certificate_bytes
    assert all(certificate in one.path.read_bytes() for one in (app, built))
    with pytest.raises(InvalidInput, match=r"the test APK of org\.tensorflow\.lite\.benchmark, not the app"):
        attempt(test)
    for wrong, says in (
        (
            TestAppRequest(base, "org.other", tmp_path / "w.apk"),
            r"tests org\.tensorflow\.lite\.benchmark, and",
        ),
        (
            TestAppRequest(pinned(tmp_path / "app.apk", apk_bytes()), target, tmp_path / "w.apk"),
            "has no instrumentation",
        ),
    ):
        with pytest.raises(InvalidInput, match=says):
            build_test_app(wrong, ec_key)
        assert not wrong.output.exists()


def test_an_app_that_tests_itself_is_an_app(attempt: Attempt) -> None:
    target = "org.tensorflow.lite.benchmark"
    facts = attempt(apk_bytes(manifest=manifest(target, instrumentation=(RUNNER, target)))).facts
    assert facts is not None and facts.kind is AppKind.ACTIVITY


def test_a_built_app_may_be_the_base_of_the_next_one(attempt: Attempt, model: Path) -> None:
    first = attempt(apk_bytes(manifest=manifest(min_sdk=21)))
    model.write_bytes(b"\x1c\x00\x00\x00TFL3 another model")
    second = attempt(first.path.read_bytes())
    with zipfile.ZipFile(second.path) as archive:
        assert archive.read("assets/windtunnel/model.tflite") == model.read_bytes()
        names = archive.namelist()
    assert len(names) == len(set(names)) and second.signatures == ("v1", "v2", "v3")


def test_levels_of_manifests() -> None:
    assert read_manifest(manifest(min_sdk=None, target_sdk=None)) == Manifest("org.tensorflow.lite.benchmark")
    assert read_manifest(manifest(min_sdk="31", target_sdk=33)).min_sdk == 31
    assert read_manifest(manifest(min_sdk="Baklava")).min_sdk == 10_000


def test_the_platform_follows_from_the_base(tmp_path: Path) -> None:
    for data, platform in (
        (apk_bytes(), Platform.ANDROID),
        (archive(**{"BundleConfig.pb": b""}), Platform.ANDROID),
        (archive(**{"Payload/A.app/Info.plist": b""}), Platform.IOS),
        (archive(**{"A.app/Info.plist": b""}), Platform.IOS),
    ):
        (tmp_path / "base").write_bytes(data)
        assert platform_of_base(tmp_path / "base") is platform
    with pytest.raises(InvalidInput, match="gone cannot be read"):
        platform_of_base(tmp_path / "gone")


GOOD = manifest(game_loop=True, metadata={"com.google.test.loops": 10})


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.booleans())
def test_a_damaged_manifest_is_refused_or_read(position: int, value: int, cut: bool) -> None:
    data = GOOD[:position] if cut else GOOD[:position] + bytes([value]) + GOOD[position + 1 :]
    try:
        read_manifest(data)
    except NotBinaryXml:
        return
    assert not cut
