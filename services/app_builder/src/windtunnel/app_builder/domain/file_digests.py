"""Hashing and copying of files that may not fit into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

BLOCK = 1 << 20


def blocks(file: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    """The next `size` bytes (None: all that follow) in pieces of at most 1 MiB; ends early where the file does."""
    while size is None or size > 0:
        block = file.read(BLOCK if size is None else min(BLOCK, size))
        if not block:
            return
        if size is not None:
            size -= len(block)
        yield block


def sha256_of(file: BinaryIO) -> tuple[str, int]:
    """SHA-256 in hex and length of what follows in the file."""
    digest, size = hashlib.sha256(), 0
    for block in blocks(file):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size
