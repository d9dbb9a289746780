"""Signed apps for iOS, read back by descriptions of the format; the base's programs come from another linker.

Cases with a repository and a number come from public reports.
"""

from __future__ import annotations

import hashlib
import plistlib
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support import apple_verifier
from support.apple_programs import LIBRARY, SIGNED, UNSIGNED, encrypted, fat, without_room
from support.apple_verifier import DER, ENTITLEMENTS, Refused, check_bundle, check_part, cms_accepts, parts_of
from support.base_apk import pinned
from support.base_ipa import BUNDLE, PASSWORD, ROOT, TEAM, Apple, app_files, ec_p12, info, ipa_bytes, with_program
from windtunnel.app_builder import BenchmarkConfig, BuildRequest, IosSigner, Platform, build
from windtunnel.app_builder.adapters.ios.code_signature import der_entitlements
from windtunnel.app_builder.adapters.ios.macho import NotMachO
from windtunnel.app_builder.adapters.ios.macho import parts_of as our_parts_of
from windtunnel.errors import InvalidInput, Unsupported

FRAMEWORK = "Frameworks/Bench.framework/"


@pytest.fixture(scope="module")
def apple() -> Apple:
    return Apple()


@dataclass(frozen=True)
class Signed:
    files: Mapping[str, bytes]
    folder: Path

    def bundle(self, folder: str = "") -> dict[str, bytes]:
        return {path.removeprefix(folder): data for path, data in self.files.items() if path.startswith(folder)}


Attempt = Callable[..., Signed]


@pytest.fixture
def attempt(model: Path, tmp_path: Path, apple: Apple) -> Attempt:
    def run(data: bytes, **profile: Any) -> Signed:
        signer = IosSigner.load(*_files(apple, tmp_path, **profile))
        base = pinned(tmp_path / "base.ipa", data)
        config = BenchmarkConfig(None, "int8")
        built = build(BuildRequest(Platform.IOS, model, config, tmp_path / "out.ipa", base), ios=signer)
        assert built.signatures == ("apple",)
        with zipfile.ZipFile(built.path) as archive:
            assert archive.testzip() is None
            files = {name.removeprefix(ROOT): archive.read(name) for name in archive.namelist()}
        return Signed(files, tmp_path)

    return run


def _files(apple: Apple, folder: Path, **profile: Any) -> tuple[Path, bytes, Path]:
    p12, provision = apple.write(folder, **profile)
    return p12, PASSWORD, provision


def test_the_verifier_takes_what_the_linker_signed_and_sees_a_change() -> None:
    signature = check_part(SIGNED)
    assert (signature.identifier, signature.flags, signature.exec_flags) == ("prog", 0x20002, 1)
    with pytest.raises(Refused, match="not signed"):
        check_part(UNSIGNED)
    for position in (0x4000, len(SIGNED) - 100):
        changed = bytearray(SIGNED)
        changed[position] ^= 1
        with pytest.raises(Refused):
            check_part(bytes(changed))


@pytest.mark.parametrize("program", [SIGNED, UNSIGNED, fat(SIGNED, UNSIGNED)], ids=["signed", "unsigned", "fat"])
def test_a_signed_app_holds_in_all_its_parts(program: bytes, attempt: Attempt, apple: Apple, model: Path) -> None:
    signed = attempt(with_program(program))
    signature = check_bundle(signed.files, "TFLiteBenchmark")
    assert (signature.identifier, signature.team, signature.flags) == (BUNDLE, TEAM, 0)
    assert signed.files["benchmark_data/model.tflite"] == model.read_bytes()
    assert signed.files["embedded.mobileprovision"] == (signed.folder / "dev.mobileprovision").read_bytes()
    assert len(parts_of(signed.files["TFLiteBenchmark"])) == len(parts_of(program))
    if shutil.which("openssl"):
        assert cms_accepts(signature, apple.root_pem, signed.folder)


def test_what_is_signed_keeps_its_code(attempt: Attempt) -> None:
    code = attempt(with_program(SIGNED)).files["TFLiteBenchmark"]
    end = struct.unpack_from("<I", SIGNED, SIGNED.index(struct.pack("<2I", 0x1D, 16)) + 8)[0]
    # Load commands state the size of the signature; all else is the same.
    assert code[0x1000:end] == SIGNED[0x1000:end]


def test_frameworks_and_libraries_are_signed_before_the_app(attempt: Attempt) -> None:
    """sauce-archives/isign#15 and #134, zhlynn/zsign#3: frameworks kept their old signatures."""
    signed = attempt(ipa_bytes())
    framework = check_bundle(signed.bundle(FRAMEWORK), "Bench")
    assert (framework.identifier, framework.team) == ("org.example.Bench", TEAM)
    assert ENTITLEMENTS not in framework.blobs and framework.exec_flags == 0
    library = check_part(signed.files["Frameworks/libx.dylib"])
    assert (library.identifier, library.team) == ("libx.dylib", TEAM)
    assert not any(library.special[slot].strip(b"\0") for slot in library.special if slot != 2)


def test_a_changed_file_is_seen(attempt: Attempt) -> None:
    signed = attempt(ipa_bytes())
    check_bundle(signed.files, "TFLiteBenchmark")
    for path in ("benchmark_data/model.tflite", "Info.plist", "Frameworks/libx.dylib", "embedded.mobileprovision"):
        changed = {**signed.files, path: signed.files[path][:-1] + b"!"}
        with pytest.raises(Refused):
            check_bundle(changed, "TFLiteBenchmark")


def test_entitlements_are_those_of_the_profile_in_both_encodings(attempt: Attempt) -> None:
    """zhlynn/zsign#148, fastlane/fastlane#19422: iOS 15 refuses signatures without DER entitlements.

    maciekish/iReSign#43: the application-identifier was missing.
    """
    signature = check_part(attempt(ipa_bytes()).files["TFLiteBenchmark"])
    own = f"{TEAM}.{BUNDLE}"
    entitlements = plistlib.loads(signature.blobs[ENTITLEMENTS][8:])
    assert entitlements == {
        "application-identifier": own,
        "com.apple.developer.team-identifier": TEAM,
        "get-task-allow": True,
        "keychain-access-groups": [own, "com.apple.token"],
    }
    assert signature.blobs[DER][8:] == der_entitlements(entitlements)
    assert signature.blobs[DER][:4] == b"\xfa\xde\x71\x72"


@pytest.mark.parametrize(("debug", "flags"), [(True, 0x11), (False, 0x1)])
def test_a_distribution_profile_allows_no_unsigned_code(debug: bool, flags: int, attempt: Attempt) -> None:
    """zhlynn/zsign#390: the flag followed from the entitlement's presence, not from its value."""
    signature = check_part(attempt(ipa_bytes(), debug=debug).files["TFLiteBenchmark"])
    assert signature.exec_flags == flags


def test_hashes_in_the_cms_signature_are_those_of_the_code_directory(attempt: Attempt) -> None:
    """zhlynn/zsign#390: it listed hashes of a directory that was not there."""
    signature = check_part(attempt(ipa_bytes()).files["TFLiteBenchmark"])
    digest = hashlib.sha256(signature.blobs[apple_verifier.DIRECTORY]).digest()
    cms = signature.blobs[apple_verifier.CMS]
    start = cms.index(b"<?xml")
    listed = plistlib.loads(cms[start : cms.index(b"</plist>") + 8])
    assert listed == {"cdhashes": [digest[:20]]}
    assert cms.count(digest) == 2, "the message digest, and the second list of hashes"


def test_der_entitlements() -> None:
    """Bytes worked out by hand from the description: keys sorted; a set would be sorted differently."""
    found = der_entitlements({"b": True, "a": ["x", 5], "c": {"d": "e"}})
    inner = (
        b"\x30\x0b\x0c\x01a\x30\x06\x0c\x01x\x02\x01\x05"
        b"\x30\x06\x0c\x01b\x01\x01\xff"
        b"\x30\x0d\x0c\x01c\xb0\x08\x30\x06\x0c\x01d\x0c\x01e"
    )
    assert found == b"\x70" + bytes([len(inner) + 5]) + b"\x02\x01\x01\xb0" + bytes([len(inner)]) + inner
    with pytest.raises(ValueError, match="an entitlement of type float"):
        der_entitlements({"a": 1.5})


def test_resources_follow_the_rules(attempt: Attempt) -> None:
    document = plistlib.loads(attempt(ipa_bytes()).files["_CodeSignature/CodeResources"])
    files, files2 = document["files"], document["files2"]
    assert files2["de.lproj/Localizable.strings"]["optional"] is True
    assert files["de.lproj/Localizable.strings"]["optional"] is True
    assert "optional" not in files2["Base.lproj/Main.storyboardc/Info.plist"]
    assert "de.lproj/locversion.plist" not in files2 and "de.lproj/locversion.plist" not in files
    assert "Info.plist" in files and "Info.plist" not in files2
    assert f"{FRAMEWORK}Info.plist" in files2, "only the bundle's own Info.plist is bound elsewhere"


def test_an_app_with_spaces_in_its_names(attempt: Attempt) -> None:
    """zhlynn/zsign#167 and #111: 0xe8008017, a signed resource has been added, modified, or deleted."""
    root = "Payload/DHD iOS.app/"
    files = {**app_files(), "my sounds/größe 1.wav": b"sound", ".DS_Store": b"x"}
    found = attempt(ipa_bytes(files, root=root)).files
    inside = {path.removeprefix(root): data for path, data in found.items()}
    assert check_bundle(inside, "TFLiteBenchmark").identifier == BUNDLE
    assert inside["my sounds/größe 1.wav"] == b"sound"


@pytest.mark.parametrize("folder", ["PlugIns/Widget.appex/", "Watch/Companion.app/"])
def test_extensions_need_a_profile_of_their_own(folder: str, attempt: Attempt) -> None:
    """nowsecure/node-applesign#128: AppexBundleIDNotPrefixed."""
    files = {**app_files(), f"{folder}Info.plist": info(f"{BUNDLE}.more", "More"), f"{folder}More": LIBRARY}
    with pytest.raises(Unsupported, match="holds an extension or another app") as caught:
        attempt(ipa_bytes(files))
    assert "leave it unsigned" in caught.value.hint


def test_a_library_that_is_still_encrypted_is_named(attempt: Attempt) -> None:
    """Tools that decrypt an app may leave its libraries as they were."""
    with pytest.raises(InvalidInput, match=r"libx\.dylib' cannot be signed: its arm64 code is encrypted"):
        attempt(ipa_bytes({**app_files(), "Frameworks/libx.dylib": encrypted(LIBRARY)}))


def test_a_test_bundle_is_signed_too(attempt: Attempt) -> None:
    folder = "PlugIns/BenchTests.xctest/"
    files = {
        **app_files(),
        f"{folder}Info.plist": info(f"{BUNDLE}.tests", "BenchTests"),
        f"{folder}BenchTests": LIBRARY,
    }
    assert check_bundle(attempt(ipa_bytes(files)).bundle(folder), "BenchTests").team == TEAM


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (without_room(), "no room for a signature"),
        (b"\xce\xfa\xed\xfe" + struct.pack("<6I", 12, 9, 2, 0, 0, 0) + bytes(64), "32-bit"),
        (UNSIGNED.replace(b"__LINKEDIT", b"__LINKEDUT"), "without __LINKEDIT"),
    ],
)
def test_programs_that_cannot_be_signed_are_named(program: bytes, says: str, attempt: Attempt) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        attempt(with_program(program))
    assert "'TFLiteBenchmark' cannot be signed" in caught.value.message
    assert "build the benchmark app" in caught.value.hint or "leave it unsigned" in caught.value.hint


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        ({"days": -20}, "expired on 2025-12-12"),
        ({"own": False}, "does not allow the certificate"),
        ({"application": f"{TEAM}.org.other"}, rf"is for {TEAM}\.org\.other, and the base app is {TEAM}\.org\.example"),
        ({"application": f"{TEAM}.org.examples.*"}, "and the base app is"),
    ],
)
def test_profiles_that_do_not_fit_are_refused(profile: dict[str, Any], says: str, attempt: Attempt) -> None:
    """sauce-archives/isign#15: Signer did not match any installed provisioning profile."""
    with pytest.raises(InvalidInput, match=says):
        attempt(ipa_bytes(), **profile)


def test_a_profile_for_the_app_itself_fits(attempt: Attempt) -> None:
    assert attempt(ipa_bytes(), application=f"{TEAM}.{BUNDLE}")


def test_files_that_are_not_keys_or_profiles(apple: Apple, tmp_path: Path) -> None:
    p12, password, profile = _files(apple, tmp_path)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty.plist").write_bytes(plistlib.dumps({"Name": "x"}))
    (tmp_path / "ec.p12").write_bytes(ec_p12())
    for given, says in (
        ((p12, b"wrong", profile), "the password is wrong"),
        ((tmp_path / "text", password, profile), "not a PKCS #12 file"),
        ((tmp_path / "gone", password, profile), "gone cannot be read"),
        ((p12, password, tmp_path / "text"), "is not a provisioning profile"),
        ((p12, password, tmp_path / "empty.plist"), "is not a provisioning profile of iOS .*Entitlements"),
        ((tmp_path / "ec.p12", b"", profile), "not supported"),
    ):
        with pytest.raises(InvalidInput, match=says):
            IosSigner.load(*given)


def test_a_missing_issuer_is_noticed(apple: Apple, tmp_path: Path) -> None:
    given = _files(apple, tmp_path)
    assert not IosSigner.load(*given).lacks_issuer
    given[0].write_bytes(apple.p12(chain=False))
    assert IosSigner.load(*given).lacks_issuer
    given[0].write_bytes(apple.p12(None))
    assert not IosSigner.load(given[0], b"", given[2]).lacks_issuer


def test_damaged_programs_are_refused_or_read() -> None:
    for position in range(0, 0x600):
        for value in (0, 0xFF, 0x80):
            data = UNSIGNED[:position] + bytes([value]) + UNSIGNED[position + 1 :]
            try:
                our_parts_of(data)
            except NotMachO:
                continue
