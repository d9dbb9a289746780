"""The artifacts of a run, and their download."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from windtunnel.client.parts import held_part
from windtunnel.client.served_store import OnProgress, ServedStore
from windtunnel.enum_words import ARTIFACT_KIND, PLATFORM
from windtunnel.errors import Conflict, InvalidInput, NotFound
from windtunnel.output_files import not_written, output_target, put_in_place, taken
from windtunnel.v1 import artifacts_pb2

_NAMED = 10
KINDS = ARTIFACT_KIND.words


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact of a run and its part in it. None: it belongs to the whole run, or was given to it.

    `file_name` is a suggestion, for example ssd-3-int8.tflite, and has no folders; `made_at` is RFC 3339, in UTC.
    """

    kind: str
    sha256: str
    size_bytes: int
    file_name: str
    variant: str | None = None
    platform: str | None = None
    cell_id: str | None = None
    attempt: int | None = None
    made_at: str | None = None


def read_artifact(message: artifacts_pb2.RunArtifact) -> Artifact:
    """The artifact that a message describes.

    Args:
        message: of the metrics store.

    Returns:
        The artifact.
    """
    return Artifact(
        kind=ARTIFACT_KIND.read(message.artifact_kind, message.kind),
        sha256=message.artifact.sha256,
        size_bytes=message.artifact.size_bytes,
        file_name=_plain_name(message.file_name) or message.artifact.sha256,
        variant=message.variant or None,
        platform=PLATFORM.read(message.device_platform, message.platform) or None,
        cell_id=message.cell_id or None,
        attempt=message.attempt or None,
        made_at=message.made_at.ToJsonString() if message.HasField("made_at") else None,
    )


def _plain_name(text: str) -> str:
    """A file name without folders; empty if nothing is left. It comes from a server, so it must not contain a path."""
    name = re.sub(r"[\x00-\x1f\x7f-\x9f]", "_", text).replace("\\", "/").rpartition("/")[2]
    return "" if name in (".", "..") else name


def one_of(found: Sequence[Artifact], what: str, hint: str = "say which") -> Artifact:
    """The only artifact of several names for it.

    Args:
        found: artifacts that fit.
        what: what was looked for, for messages.
        hint: what to do if there are several.

    Returns:
        The artifact.

    Raises:
        NotFound: there is none.
        InvalidInput: there are several; the message has their names.
    """
    if not found:
        raise NotFound(f"there is no {what}", hint="`windtunnel artifacts list RUN` shows all artifacts")
    if len({artifact.sha256 for artifact in found}) > 1:
        names = ", ".join(artifact.file_name for artifact in found[:_NAMED])
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise InvalidInput(f"there is more than one {what}: {names}{more}", hint=hint)
    return found[0]


async def download(
    store: ServedStore, artifact: Artifact, target: Path, *, force: bool = False, on_progress: OnProgress | None = None
) -> Path:
    """Writes a verified artifact to a file, completely or not at all.

    A link is followed, and kept. An interrupted download continues from the part next to the file.

    Args:
        store: of the services.
        artifact: to download.
        target: the file.
        force: replace an existing file.
        on_progress: called with bytes received and bytes in all.

    Returns:
        The path of the file.

    Raises:
        Conflict: `target` exists and `force` is not set, is a device or a stream, or another download writes it.
        NotFound: the store does not have the artifact, or the folder does not exist.
        InvalidInput: the file cannot be written.
        Unavailable: the services do not answer.
    """
    place = output_target(target)
    if place.exists() and not force:
        raise taken(target)
    if not place.parent.is_dir():
        raise NotFound(f"there is no folder {place.parent}", hint="create it first")
    part = place.with_name(f".{place.name}.{artifact.sha256[:12]}.part")
    with held_part(part, artifact.size_bytes) as file:
        await store.fetch_part(artifact.sha256, part, file, on_progress)
        try:
            put_in_place(part, target, force=force)
        except Conflict:
            # Another process has created the file in the meantime.
            part.unlink(missing_ok=True)
            raise
        except OSError as error:
            raise not_written(target, error) from error
    return target
