"""Keys are made once: RSA keys take a while."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from windtunnel.app_builder import BenchmarkConfig, SigningKey


@pytest.fixture(scope="session")
def rsa_key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture(scope="session")
def ec_key() -> SigningKey:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "EC")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=20000))
        .sign(private, hashes.SHA256())
    )
    return SigningKey(private, certificate)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "variant.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(range(251)) * 9000)
    return path


@pytest.fixture
def config() -> BenchmarkConfig:
    return BenchmarkConfig(run_id="run-1", variant="int8", accelerator="xnnpack", num_threads=2)
