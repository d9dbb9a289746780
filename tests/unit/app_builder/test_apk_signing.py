"""Keys, and the signing block read back by the specification."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from support.base_apk import apk_bytes, pinned
from windtunnel.app_builder import BenchmarkConfig, BuildRequest, Platform, SigningKey, build
from windtunnel.errors import InvalidInput

V2, V3 = 0x7109871A, 0xF05368C0


def items(data: bytes) -> list[bytes]:
    """Splits a sequence of length-prefixed items."""
    found = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        found.append(data[4 : 4 + length])
        assert len(found[-1]) == length
        data = data[4 + length :]
    return found


def signing_block(data: bytes) -> tuple[int, int, dict[int, bytes]]:
    """Where the block begins, where the directory begins, and the block's values."""
    (directory,) = struct.unpack("<I", data[-6:-2])
    assert data[directory - 16 : directory] == b"APK Sig Block 42"
    (size,) = struct.unpack("<Q", data[directory - 24 : directory - 16])
    start = directory - size - 8
    assert struct.unpack("<Q", data[start : start + 8]) == (size,)
    pairs, position = {}, start + 8
    while position < directory - 24:
        length, key = struct.unpack_from("<QI", data, position)
        pairs[key] = data[position + 12 : position + 8 + length]
        position += 8 + length
    return start, directory, pairs


def content_digest(data: bytes, start: int, directory: int) -> bytes:
    """The specification, read naively."""
    end = data[-22:-6] + struct.pack("<I", start) + data[-2:]
    chunks = []
    for part in (data[:start], data[directory:-22], end):
        chunks += [part[at : at + 2**20] for at in range(0, len(part), 2**20)]
    tree = [hashlib.sha256(b"\xa5" + struct.pack("<I", len(chunk)) + chunk).digest() for chunk in chunks]
    return hashlib.sha256(b"\x5a" + struct.pack("<I", len(tree)) + b"".join(tree)).digest()


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
        verify(public, items(signature[4:])[0], signed)
        assert items(signed[: 4 + struct.unpack_from("<I", signed)[0]])[0][12:] == digest


def verify(public: bytes, signature: bytes, data: bytes) -> None:
    key = serialization.load_der_public_key(public)
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))


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
