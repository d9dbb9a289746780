"""Artifacts in a Google Cloud Storage bucket. Honors STORAGE_EMULATOR_HOST."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.api_core.exceptions import Conflict as AlreadyExists
from google.api_core.exceptions import NotFound as Missing
from google.api_core.exceptions import PreconditionFailed
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from windtunnel.artifacts.stores.gcs_errors import speaking_gcs
from windtunnel.artifacts.stores.port import ArtifactRef, RemoteStore, VerifyingReader, read_chunks
from windtunnel.errors import NotFound, Unavailable

_TRANSFER = 8 * 1024 * 1024
_TIMEOUT_S = (5, 60)  # connect, read


class GcsStore(RemoteStore):
    """A bucket and a key prefix; application default credentials. `patience_s` bounds the SDK's retries.

    Args:
        bucket: its name.
        prefix: of all keys.
        create_bucket: create the bucket if it is missing.
        patience_s: how long to try again, in seconds.
    """

    def __init__(self, bucket: str, prefix: str = "", *, create_bucket: bool = False, patience_s: float = 20.0) -> None:
        super().__init__(prefix)
        self._name = bucket
        self._create = create_bucket
        self._options = {"timeout": _TIMEOUT_S, "retry": DEFAULT_RETRY.with_timeout(patience_s)}
        self._lock = threading.Lock()
        self._client: Any = None

    def _bucket(self) -> Any:
        # The client looks for credentials when it is made, which may ask the network: not in the constructor.
        with self._lock, self._speaking("connect"):
            if self._client is None:
                self._client = storage.Client()
            bucket = self._client.bucket(self._name)
            if self._create and not bucket.exists(**self._options):
                self._make(bucket)
            self._create = False
            return bucket

    def _make(self, bucket: Any) -> None:
        try:
            bucket.create(**self._options)
        except AlreadyExists:
            return

    def _upload(self, ref: ArtifactRef, source: VerifyingReader) -> None:
        blob = self._bucket().blob(self._key(ref.sha256), chunk_size=_TRANSFER)
        blob.metadata = {"sha256": ref.sha256}
        with self._speaking(f"store {ref.sha256}"):
            try:
                blob.upload_from_file(source, size=ref.size_bytes, if_generation_match=0, **self._options)
            except PreconditionFailed:
                if self._stat(ref.sha256) != ref:
                    source.seek(0)
                    blob.upload_from_file(source, size=ref.size_bytes, **self._options)

    @contextmanager
    def _open(self, sha256: str) -> Iterator[Iterator[bytes]]:
        if self._stat(sha256) is None:
            raise NotFound(f"no artifact {sha256} in gs://{self._name}")
        blob = self._bucket().blob(self._key(sha256))
        with blob.open("rb", chunk_size=_TRANSFER, raw_download=True, **self._options) as source:
            yield self._read(sha256, source)

    def _read(self, sha256: str, source: Any) -> Iterator[bytes]:
        with self._speaking(f"read {sha256}"):
            yield from read_chunks(source)

    def _stat(self, sha256: str) -> ArtifactRef | None:
        bucket = self._bucket()
        with self._speaking(f"look up {sha256}"):
            blob = bucket.get_blob(self._key(sha256), **self._options)
        return None if blob is None else ArtifactRef(sha256, int(blob.size))

    def _delete(self, sha256: str) -> None:
        bucket = self._bucket()
        with self._speaking(f"delete {sha256}"):
            try:
                bucket.delete_blob(self._key(sha256), **self._options)
            except Missing:
                return

    def _ping(self) -> None:
        bucket = self._bucket()
        with self._speaking("look for the bucket"):
            exists = bucket.exists(**self._options)
        if not exists:
            raise self._no_bucket()

    def _no_bucket(self) -> Unavailable:
        hint = "make the bucket, or add create=1 to the store's URL"
        return Unavailable(f"gs://{self._name} does not exist", retryable=False, hint=hint)

    @contextmanager
    def _speaking(self, action: str) -> Iterator[None]:
        """Turns what the SDK raises into the project's errors.

        Raises:
            NotFound: the bucket or object does not exist.
        """
        try:
            with speaking_gcs(f"gs://{self._name}: cannot {action}"):
                yield
        except NotFound as error:
            if action.startswith("store"):
                raise self._no_bucket() from error
            raise
