"""One file of an edge log: its records in order, and in words what of it could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from windtunnel.errors import InvalidInput
from windtunnel.monitor.mcap.reader import Damage, Skipped, read
from windtunnel.monitor.mcap.records import Channel, Footer, Header, Message, Metadata

# The ids are fixed (docs/edge-log.md), so a file whose channel records are damaged is still read.
_TOPICS: Final[Mapping[int, str]] = {1: "/frame", 2: "/sensor"}
_SHOWN: Final = 3
_CUT: Final = "the app ended without closing it: frames after its last flush are missing"


@dataclass(frozen=True, slots=True)
class LogFile:
    """What a file holds.

    Attributes:
        profile: of the MCAP file; None: its header could not be read.
        metadata: records of names and texts, by the name of the record.
        messages: topic and data, in the order of the file.
        damage: what could not be read, as sentences.
    """

    profile: str | None
    metadata: Mapping[str, Mapping[str, str]]
    messages: tuple[tuple[str, bytes], ...]
    damage: tuple[str, ...]


def read_log_file(path: Path) -> LogFile:
    """Reads a file of an edge log, also one that is cut or damaged.

    Args:
        path: an MCAP file.

    Returns:
        What it holds.

    Raises:
        InvalidInput: the file cannot be opened.
    """
    profile: str | None = None
    metadata: dict[str, Mapping[str, str]] = {}
    topics, messages, skipped, closed = dict(_TOPICS), list[tuple[str, bytes]](), list[Skipped](), False
    try:
        for item in read(path):
            match item:
                case Message():
                    messages.append((topics.get(item.channel_id, ""), item.data))
                case Skipped():
                    skipped.append(item)
                case Header():
                    profile = item.profile
                case Metadata():
                    # A later record adds to an earlier one of its name, for example what was redacted.
                    metadata[item.name] = {**metadata.get(item.name, {}), **item.metadata}
                case Channel():
                    topics[item.id] = item.topic
                case Footer():
                    closed = True
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
    return LogFile(profile, metadata, tuple(messages), tuple(_damage(skipped, closed=closed)))


def _damage(skipped: list[Skipped], *, closed: bool) -> list[str]:
    if len(skipped) == 1 and skipped[0].damage is Damage.MAGIC and not skipped[0].offset and not closed:
        # Nothing of it is a log.
        return [Damage.MAGIC.value]
    said = [f"{_where(one)} could not be read: {one.damage.value}" for one in skipped if one.damage is not Damage.CUT]
    if len(said) > _SHOWN:
        kinds = Counter(one.damage.value for one in skipped if one.damage is not Damage.CUT)
        said = [f"{count} parts could not be read: {what}" for what, count in kinds.items()]
    if not closed or any(one.damage is Damage.CUT for one in skipped):
        said.append(_CUT)
    return said


def _where(skipped: Skipped) -> str:
    if not skipped.length:
        return "it"
    return f"{skipped.length} bytes from byte {skipped.offset}"
