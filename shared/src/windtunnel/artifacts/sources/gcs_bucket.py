"""Objects of somebody's GCS bucket. Application default credentials; honors STORAGE_EMULATOR_HOST."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from windtunnel.artifacts.sources.source_file import SourceFile
from windtunnel.artifacts.stores.gcs_errors import speaking_gcs
from windtunnel.artifacts.stores.port import read_chunks

_TRANSFER = 8 * 1024 * 1024
_OPTIONS = {"timeout": (5, 60), "retry": DEFAULT_RETRY.with_timeout(20.0)}


class GcsBucket:
    """Reads objects in place."""

    def __init__(self) -> None:
        with speaking_gcs("cannot read GCS"):
            self._client = storage.Client()

    def files(self, bucket: str, key: str) -> Iterator[SourceFile]:
        """Implements `Bucket.files`."""
        with speaking_gcs(f"cannot read gs://{bucket}/{key}"):
            single = self._client.bucket(bucket).get_blob(key, **_OPTIONS)
            blobs = [] if single else list(self._client.list_blobs(bucket, prefix=f"{key}/", **_OPTIONS))
        if single:
            yield _file(bucket, single, "")
        for blob in blobs:
            relative = blob.name.removeprefix(f"{key}/")
            if relative and not relative.endswith("/"):
                yield _file(bucket, blob, relative)


def _file(bucket: str, blob: Any, relative: str) -> SourceFile:
    @contextmanager
    def read() -> Iterator[Iterator[bytes]]:
        with blob.open("rb", chunk_size=_TRANSFER, raw_download=True, **_OPTIONS) as source:
            yield _chunks(f"gs://{bucket}/{blob.name}", source)

    return SourceFile(relative, read)


def _chunks(where: str, source: Any) -> Iterator[bytes]:
    with speaking_gcs(f"cannot read {where}"):
        yield from read_chunks(source)
