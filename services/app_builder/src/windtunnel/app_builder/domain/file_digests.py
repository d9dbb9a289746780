"""Hashing and copying of files that may not fit into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

BLOCK = 1 << 20


def blocks(file: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    """The next bytes of a file in pieces of at most 1 MiB.

    Args:
        file: at any position.
        size: how many bytes; None: all that follow.

    Yields:
        Each piece; fewer bytes if the file ends early.
    """
    while size is None or size > 0:
        block = file.read(BLOCK if size is None else min(BLOCK, size))
        if not block:
            return
        if size is not None:
            size -= len(block)
        yield block


def sha256_of(file: BinaryIO) -> tuple[str, int]:
    """Hashes the rest of a file.

    Args:
        file: at any position.

    Returns:
        SHA-256 in hexadecimal digits, and length.
    """
    digest, size = hashlib.sha256(), 0
    for block in blocks(file):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size
