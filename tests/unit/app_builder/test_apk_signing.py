"""Keys, and the signing block read back by the specification."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.android_manifest import manifest
from support.apk_verifier import V2, V3, Refused, check, content_digest, items, signing_block, verify_signature
from support.base_apk import apk_bytes, pinned
from windtunnel.app_builder import BenchmarkConfig, BuildRequest, Platform, SigningKey, build
from windtunnel.errors import InvalidInput


@pytest.mark.heavy
@pytest.mark.parametrize(("kind", "algorithm"), [("rsa_key", 0x0103), ("ec_key", 0x0201)])
def test_both_schemes_sign_the_content(
    kind: str,
    algorithm: int,
    model: Path,
    config: BenchmarkConfig,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    key: SigningKey = request.getfixturevalue(kind)
    base = pinned(tmp_path / "base.apk", apk_bytes())
    data = build(BuildRequest(Platform.ANDROID, model, config, tmp_path / "o.apk", base), key).path.read_bytes()
    start, directory, pairs = signing_block(data)
    assert list(pairs) == [V2, V3]
    digest = content_digest(data, start, directory)
    for scheme, value in pairs.items():
        (signers,) = items(value)
        (signer,) = items(signers)
        (length,) = struct.unpack_from("<I", signer)
        signed, rest = signer[4 : 4 + length], signer[4 + length :]
        if scheme == V3:
            assert struct.unpack_from("<II", rest) == (28, 0x7FFFFFFF)
            rest = rest[8:]
        signatures, public = items(rest)
        (signature,) = items(signatures)
        assert struct.unpack_from("<I", signature) == (algorithm,)
        verify_signature(public, items(signature[4:])[0], signed)
        assert items(signed[: 4 + struct.unpack_from("<I", signed)[0]])[0][12:] == digest


def pem(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def test_keys_survive_pem(rsa_key: SigningKey) -> None:
    loaded = SigningKey.load_pem(*rsa_key.to_pem())
    assert loaded.public_bytes() == rsa_key.public_bytes()
    assert loaded.certificate == rsa_key.certificate
    assert "PRIVATE" not in repr(loaded) and "private" not in repr(loaded)


def test_unusable_keys_are_refused(rsa_key: SigningKey, ec_key: SigningKey) -> None:
    key, certificate = rsa_key.to_pem()
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    for wrong_key, wrong_certificate, says in (
        (b"nonsense", certificate, "key cannot be read"),
        (key, b"nonsense", "certificate cannot be read"),
        (key, ec_key.to_pem()[1], "do not belong together"),
        (pem(rsa_key.private, b"secret"), certificate, "key cannot be read"),
        (pem(ec.generate_private_key(ec.SECP384R1())), certificate, "not supported"),
        (pem(small), certificate, "not supported"),
    ):
        with pytest.raises(InvalidInput, match=says):
            SigningKey.load_pem(wrong_key, wrong_certificate)


def built(tmp_path: Path, model: Path, config: BenchmarkConfig, key: SigningKey, min_sdk: int) -> bytes:
    base = pinned(tmp_path / f"base{min_sdk}.apk", apk_bytes(manifest=manifest(min_sdk=min_sdk)))
    request = BuildRequest(Platform.ANDROID, model, config, tmp_path / f"{min_sdk}.apk", base)
    return build(request, key).path.read_bytes()


def flipped(data: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


@pytest.mark.heavy
@pytest.mark.parametrize("min_sdk", [24, 28])
def test_one_flipped_byte_is_refused_wherever_it_is(
    min_sdk: int, tmp_path: Path, config: BenchmarkConfig, ec_key: SigningKey
) -> None:
    model = tmp_path / "small.tflite"
    model.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(500))
    data = built(tmp_path, model, config, ec_key, min_sdk)
    check(data, min_sdk)
    start, directory, _ = signing_block(data)
    # Every byte that is not content, and some of the content, whose digest treats all of it in the same way.
    positions = [*range(start, len(data)), *range(0, start, 997)]
    assert directory - start > 500
    for position in positions:
        with pytest.raises(Refused):
            check(flipped(data, position, position % 8), min_sdk)


def test_an_app_for_android_9_and_later_has_no_signature_that_nobody_reads(
    tmp_path: Path, model: Path, config: BenchmarkConfig, ec_key: SigningKey
) -> None:
    assert list(signing_block(built(tmp_path, model, config, ec_key, 28))[2]) == [V3]
    assert list(signing_block(built(tmp_path, model, config, ec_key, 27))[2]) == [V2, V3]
