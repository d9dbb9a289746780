"""From a store's URL to the store."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import overload
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from windtunnel.artifacts.stores.cloud_sdk import needs_sdk
from windtunnel.artifacts.stores.file_cache import Artifacts
from windtunnel.artifacts.stores.local_store import LocalStore
from windtunnel.artifacts.stores.port import ArtifactStore
from windtunnel.errors import InvalidInput

_FORMS = "a folder, file:///folder, s3://bucket/prefix?endpoint=URL&region=NAME or gs://bucket/prefix"


@overload
def open_store(url: str, *, cache: None = None) -> ArtifactStore: ...
@overload
def open_store(url: str, *, cache: Path) -> Artifacts: ...
def open_store(url: str, *, cache: Path | None = None) -> ArtifactStore:
    """Opens a store, without touching the network. SDKs are imported only for their own scheme: services start fast.

    Args:
        url: file://, s3:// or gs://; `create=1` makes a missing bucket.
        cache: folder for local copies; then artifacts can be had as files. None: no copies.

    Returns:
        The store.

    Raises:
        InvalidInput: the URL cannot be read.
        Unsupported: the SDK of its scheme is not installed.
    """
    store = _open(url)
    return store if cache is None else Artifacts(store, cache)


def _open(url: str) -> ArtifactStore:
    if "://" not in url:
        if not url:
            raise InvalidInput("the artifact store's URL is empty", hint=f"give {_FORMS}")
        return LocalStore(Path(url).expanduser().absolute())
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise InvalidInput("the artifact store's URL holds credentials", hint="give them in the environment")
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and len(parts.path) > 1:
        _options(parts, set())
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return _open_s3(parts)
    if parts.scheme == "gs" and parts.netloc:
        return _open_gcs(parts)
    raise InvalidInput(f"not an artifact store: {parts.scheme}://{parts.netloc}", hint=f"give {_FORMS}")


def _open_s3(parts: SplitResult) -> ArtifactStore:
    options = _options(parts, {"endpoint", "region", "create"})
    with needs_sdk("s3"):
        from windtunnel.artifacts.stores.s3_store import S3Store

    return S3Store(
        parts.netloc,
        parts.path,
        endpoint=options.get("endpoint"),
        region=options.get("region"),
        create_bucket=options.get("create") == "1",
    )


def _open_gcs(parts: SplitResult) -> ArtifactStore:
    options = _options(parts, {"create"})
    with needs_sdk("gs"):
        from windtunnel.artifacts.stores.gcs_store import GcsStore

    return GcsStore(parts.netloc, parts.path, create_bucket=options.get("create") == "1")


def _options(parts: SplitResult, known: set[str]) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
            raise InvalidInput(f"unknown option {name[:40]!r} in a {parts.scheme}:// store URL", hint=hint)
    return options
