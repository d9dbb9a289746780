"""Immutable blobs named by their SHA-256, in a folder, an S3 bucket or a GCS bucket; and files from outside.

    store = open_store("s3://models/artifacts?endpoint=http://127.0.0.1:8333", cache=Path("/var/cache/windtunnel"))
    ref = await store.put_file(Path("model.tflite"))
    path = await store.path(ref.sha256)          # a verified, read-only local file

`SourceReader` brings in what events point to (s3://, gs://, file://, sha256:); `unpack` opens archives safely.
"""

from __future__ import annotations

from windtunnel.artifacts.archives.pack import pack
from windtunnel.artifacts.archives.unpack import unpack
from windtunnel.artifacts.sources.source_reader import SourceReader
from windtunnel.artifacts.stores.file_cache import Artifacts
from windtunnel.artifacts.stores.local_store import LocalStore
from windtunnel.artifacts.stores.memory_store import MemoryStore
from windtunnel.artifacts.stores.open_store import open_store
from windtunnel.artifacts.stores.port import ArtifactRef, ArtifactStore, Corrupt

__all__ = [
    "ArtifactRef",
    "ArtifactStore",
    "Artifacts",
    "Corrupt",
    "LocalStore",
    "MemoryStore",
    "SourceReader",
    "open_store",
    "pack",
    "unpack",
]
