"""The folder in Cloud Storage where uploads and results of a farm lie."""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from google.api_core.exceptions import NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from windtunnel.artifacts import ArtifactRef
from windtunnel.farm_dispatcher.adapters.google_cloud.google_access import find_credentials
from windtunnel.farm_dispatcher.adapters.google_cloud.google_faults import asking_google
from windtunnel.service.settings import InvalidSetting

_PIECE: Final = 8 * 1024 * 1024
_TIMEOUT_S: Final = (5, 60)  # connect, read
_PATIENCE_S: Final = 20.0
# Of one file of results. A larger one is left where it is.
MOST_BYTES: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """An object: its name in the bucket, and its size."""

    name: str
    size_bytes: int


class ResultsBucket:
    """A bucket and a folder in it. All calls block.

    Args:
        url: gs://bucket/folder.
        endpoint: of an emulator; empty: Google's own.
        project: of Google Cloud.
    """

    def __init__(self, url: str, endpoint: str, project: str) -> None:
        match = re.fullmatch(r"gs://([a-z0-9][a-z0-9._-]+)((?:/[\w.-]+)*)/?", url)
        if match is None or ".." in url:
            hint = "write gs://BUCKET/FOLDER, with letters, digits, '.', '_' and '-'"
            raise InvalidSetting(f"results {url!r} is not a gs:// folder", hint=hint)
        self.name: Final = match[1]
        self._folder = match[2].strip("/")
        self._endpoint, self._project = endpoint, project
        self._lock = threading.Lock()
        self._client: Any = None

    def uri(self, *parts: str) -> str:
        """The gs:// address of something in the folder.

        Args:
            *parts: of its path.

        Returns:
            The address.
        """
        return f"gs://{self.name}/{self.path(*parts)}"

    def path(self, *parts: str) -> str:
        """The name of an object in the bucket.

        Args:
            *parts: of its path in the folder.

        Returns:
            The name.
        """
        return "/".join(part for part in (self._folder, *parts) if part)

    def upload_once(self, source: Path, blob: ArtifactRef, suffix: str = "") -> str:
        """Stores a file under its hash, unless it is there.

        Args:
            source: the file.
            blob: its hash and size.
            suffix: of the name.

        Returns:
            Its gs:// address.

        Raises:
            FarmError: the bucket does not take it.
        """
        name = self.path("inputs", f"{blob.sha256}{suffix}")
        with asking_google(f"upload to gs://{self.name}/{name}"):
            options = self._options()
            known = self._bucket().get_blob(name, **options)
            if known is None or known.size != source.stat().st_size:
                target = self._bucket().blob(name, chunk_size=_PIECE)
                seen = 0 if known is None else known.generation
                # Somebody else may store the same bytes meanwhile.
                with contextlib.suppress(PreconditionFailed):
                    target.upload_from_filename(str(source), if_generation_match=seen, **options)
        return self.uri("inputs", f"{blob.sha256}{suffix}")

    def put_once(self, name: str, text: str) -> None:
        """Stores a small text, unless there is one.

        Args:
            name: of the object.
            text: of it.

        Raises:
            FarmError: the bucket does not take it.
        """
        with asking_google(f"write gs://{self.name}/{name}"), contextlib.suppress(PreconditionFailed):
            self._bucket().blob(name).upload_from_string(text, if_generation_match=0, **self._options())

    def read_text(self, name: str) -> str | None:
        """A small text.

        Args:
            name: of the object.

        Returns:
            None: there is none.

        Raises:
            FarmError: the bucket does not answer.
        """
        with asking_google(f"read gs://{self.name}/{name}"):
            try:
                data: bytes = self._bucket().blob(name).download_as_bytes(**self._options())
            except NotFound:
                return None
            return data.decode("utf-8", "replace")

    def list_below(self, prefix: str) -> tuple[Stored, ...]:
        """The objects whose names begin so.

        Args:
            prefix: of the names.

        Returns:
            All of them, in the order of their names.

        Raises:
            FarmError: the bucket does not answer.
        """
        with asking_google(f"list gs://{self.name}/{prefix}"):
            found = self._storage().list_blobs(self.name, prefix=prefix, **self._options())
            return tuple(Stored(one.name, int(one.size or 0)) for one in found)

    def download(self, stored: Stored, below: str, into: Path) -> Path | None:
        """Fetches an object.

        Args:
            stored: the object.
            below: the beginning of its name; the rest is its path in `into`.
            into: a folder.

        Returns:
            The file. None: it is too large, or its name is not a path inside of the folder.

        Raises:
            FarmError: the bucket does not answer.
        """
        inside = PurePosixPath(stored.name.removeprefix(below).lstrip("/"))
        if stored.size_bytes > MOST_BYTES or ".." in inside.parts or not inside.parts:
            return None
        target = into.joinpath(*inside.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with asking_google(f"fetch gs://{self.name}/{stored.name}"):
            self._bucket().blob(stored.name).download_to_filename(str(target), **self._options())
        return target

    def close(self) -> None:
        """Ends the connections."""
        with self._lock:
            if self._client is not None:
                with contextlib.closing(self._client):
                    self._client = None

    def _options(self) -> dict[str, Any]:
        return {"timeout": _TIMEOUT_S, "retry": DEFAULT_RETRY.with_timeout(_PATIENCE_S)}

    def _bucket(self) -> Any:
        return self._storage().bucket(self.name)

    def _storage(self) -> Any:
        with self._lock:
            if self._client is None:
                credentials = find_credentials(self._endpoint, self._project)
                anonymous: Any = AnonymousCredentials
                self._client = storage.Client(
                    self._project,
                    anonymous() if credentials is None else credentials,
                    client_options={"api_endpoint": self._endpoint} if self._endpoint else None,
                )
                # A server on this machine is not behind a proxy.
                self._client._http.trust_env = credentials is not None
            return self._client
