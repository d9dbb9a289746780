"""The host's package: a plain stored zip with the model and its configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from windtunnel.app_builder.adapters.archive.zipfile_write import ZipWriter
from windtunnel.app_builder.domain.app_package import BenchmarkConfig
from windtunnel.app_builder.domain.file_digests import blocks

MODEL, CONFIG = "model.tflite", "config.json"
# A model may be mapped from inside the bundle: the largest page size of the machines we know.
MODEL_ALIGNMENT = 16384
ALIGNMENT = 4


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def hashing(data: Iterator[bytes], digest: _Hash) -> Iterator[bytes]:
    """Passes blocks on and feeds them to a digest.

    Args:
        data: the blocks.
        digest: gets them.

    Yields:
        Each block.
    """
    for block in data:
        digest.update(block)
        yield block


def write_bundle(model: BinaryIO, config: BenchmarkConfig, output: BinaryIO) -> str:
    """Writes the bundle into an empty file.

    Args:
        model: the .tflite, at its beginning.
        config: is stored next to the model.
        output: empty, open for reading and writing.

    Returns:
        The model's SHA-256, hexadecimal digits.
    """
    digest = hashlib.sha256()
    writer = ZipWriter(output)
    writer.store(CONFIG, iter((config.to_json(MODEL),)), ALIGNMENT)
    writer.store(MODEL, hashing(blocks(model), digest), MODEL_ALIGNMENT)
    writer.close()
    return digest.hexdigest()
