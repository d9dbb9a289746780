"""The signing key on disk: the operator's own, or one that is made once and kept."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from windtunnel.app_builder.adapters.keys.signing_key import SigningKey
from windtunnel.errors import InvalidInput


def load_key(key: Path, certificate: Path) -> SigningKey:
    """Reads the key from two PEM files.

    Args:
        key: the private key.
        certificate: its certificate.

    Returns:
        The key.

    Raises:
        InvalidInput: a file cannot be read, or has no usable key.
    """
    return SigningKey.load_pem(_read(key), _read(certificate))


def password_in(path: str | Path) -> bytes:
    """The password that a file holds; a line break at its end does not belong to it.

    Args:
        path: of the file; empty: there is no password.

    Returns:
        The password; empty: none.

    Raises:
        InvalidInput: the file cannot be read.
    """
    return _read(Path(path)).rstrip(b"\r\n") if str(path) else b""


def kept_key(path: Path) -> SigningKey:
    """The key kept in a file, made on first use. Processes that start at the same time all get the same key.

    Args:
        path: of one PEM file with private key and certificate, mode 0600.

    Returns:
        The key.

    Raises:
        InvalidInput: the file cannot be used.
    """
    if not path.exists():
        _keep(SigningKey.generate(), path)
    data = _read(path)
    try:
        return SigningKey.load_pem(data, data)
    except InvalidInput as error:
        raise InvalidInput(
            f"{path}: {error.message}", hint="restore it, or remove it to have a new key made"
        ) from error


def _keep(key: SigningKey, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(b"".join(key.to_pem()))
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link never replaces the key of a process that was first.
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {error.strerror}", hint="check the path and its permissions"
        ) from error
