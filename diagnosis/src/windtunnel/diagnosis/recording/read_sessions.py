"""The sessions of an edge log: its files in order, put together, with what they lack in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Final

from windtunnel.diagnosis.recording.decode_frames import decode_frame, decode_reading
from windtunnel.diagnosis.recording.edge_log import EdgeSession, LoggedFrame, SensorValues
from windtunnel.diagnosis.recording.edge_recording import EdgeDevice
from windtunnel.diagnosis.recording.log_file import LogFile, read_log_file
from windtunnel.errors import InvalidInput, NotFound

SUFFIX: Final = ".mcap"
PROFILE: Final = "windtunnel.edge/1"
_DEVICE_RECORD: Final = "windtunnel.device"
# docs/edge-log.md: <session>-<number>.mcap, number from 000001.
_FILE_NAME: Final = re.compile(r"(?P<session>.+)-(?P<number>\d{6,})")
_TEXTS: Final = tuple(one.name for one in fields(EdgeDevice) if one.name not in ("redacted", "others"))
_NOT_OTHERS: Final = frozenset((*_TEXTS, "redacted", "session", "level", "schema"))
_SHOWN: Final = 5


@dataclass(slots=True)
class _Session:
    """A session while its files are read."""

    name: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    frames: dict[int, LoggedFrame] = field(default_factory=dict)
    readings: list[SensorValues] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


def read_sessions(path: Path, *, values: bool = True) -> tuple[EdgeSession, ...]:
    """Reads an edge log. Damage costs only the chunks that it is in, and is reported in the gaps of the session.

    Args:
        path: a .mcap file, or a folder with such files, also in folders below it.
        values: False: only statistics and times are kept, which needs less memory.

    Returns:
        The sessions, in the order of their files; each has at least one frame or one sensor reading.

    Raises:
        NotFound: the path does not exist.
        InvalidInput: there is no edge log, or nothing in it can be read.
    """
    files = _files(path)
    sessions: dict[str, _Session] = {}
    others: list[str] = []
    for file in files:
        shown = str(file.relative_to(path)) if path.is_dir() else file.name
        log = read_log_file(file)
        if log.profile not in (PROFILE, None):
            others.append(f"{shown} was not read: it is an MCAP file of profile {log.profile[:80]!r}, not {PROFILE!r}")
        else:
            _take_in(sessions, file, shown, log, values=values)
    read = [one for one in sessions.values() if one.frames or one.readings]
    empty = [gap for one in sessions.values() if one not in read for gap in one.gaps]
    if not read:
        said = "; ".join([*others, *empty][:_SHOWN]) or "no frame was recorded"
        raise InvalidInput(f"{path} has no frame that can be read: {said}", hint="give the log of a windtunnel monitor")
    return tuple(_finished(one, (*others, *empty)) for one in read)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise NotFound(f"there is no edge log at {path}")
    if not path.is_dir():
        return [path]
    files = sorted(one for one in path.rglob(f"*{SUFFIX}") if one.is_file())
    if not files:
        raise InvalidInput(
            f"{path} has no {SUFFIX} file", hint="give the folder that the monitor of the app writes its log to"
        )
    return files


def _take_in(sessions: dict[str, _Session], file: Path, shown: str, log: LogFile, *, values: bool) -> None:
    named = _FILE_NAME.fullmatch(file.stem)
    metadata = log.metadata.get(_DEVICE_RECORD, {})
    name = metadata.get("session") or (named["session"] if named else file.stem)
    session = sessions.setdefault(name, _Session(name))
    session.metadata = session.metadata or metadata
    session.files.append(shown)
    if named:
        session.numbers.append(int(named["number"]))
    session.gaps.extend(f"{shown}: {text}" for text in log.damage)
    if not metadata and log.messages:
        session.gaps.append(f"{shown}: its record {_DEVICE_RECORD!r} is missing: device and app are not known")
    count = len(session.frames) + len(session.readings)
    _read_messages(session, shown, log, values=values)
    if len(session.frames) + len(session.readings) == count and not log.damage:
        session.gaps.append(f"{shown} has no frame: the app ended before its first flush, or recorded nothing")


def _read_messages(session: _Session, shown: str, log: LogFile, *, values: bool) -> None:
    unreadable = repeated = 0
    for topic, data in log.messages:
        if topic == "/sensor":
            reading = decode_reading(data)
            unreadable += reading is None
            session.readings.extend([] if reading is None else [reading])
        elif topic == "/frame":
            decoded = decode_frame(data, values=values)
            if decoded is None:
                unreadable += 1
                continue
            frame, faults = decoded
            session.gaps.extend(f"{shown}, frame {frame.number}: {fault}" for fault in faults)
            repeated += frame.number in session.frames
            session.frames.setdefault(frame.number, frame)
    if unreadable:
        session.gaps.append(f"{shown}: {unreadable} {_plural(unreadable, 'message')} could not be read")
    if repeated:
        session.gaps.append(f"{shown}: kept once: {repeated} {_plural(repeated, 'frame')} of an earlier file")


def _finished(session: _Session, others: Iterable[str]) -> EdgeSession:
    frames = tuple(session.frames[number] for number in sorted(session.frames))
    gaps = [*_missing_files(session.numbers), *session.gaps, *_lost(frames), *_left_out(frames), *others]
    return EdgeSession(
        name=session.name,
        files=tuple(session.files),
        device=_device(session.metadata),
        level=session.metadata.get("level", ""),
        frames=frames,
        readings=tuple(sorted(session.readings, key=lambda one: one.time_ns)),
        gaps=tuple(dict.fromkeys(gaps)),
    )


def _device(metadata: Mapping[str, str]) -> EdgeDevice:
    redacted = tuple(one.strip() for one in metadata.get("redacted", "").split(",") if one.strip())
    others = {name: value for name, value in metadata.items() if name not in _NOT_OTHERS}
    texts = {name: metadata[name] for name in _TEXTS if metadata.get(name)}
    return EdgeDevice(**texts, redacted=redacted, others=MappingProxyType(others))


def _missing_files(numbers: Sequence[int]) -> Iterator[str]:
    if not numbers:
        return
    missing = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
    first = [number for number in missing if number < min(numbers)]
    if first:
        yield (
            f"the first {len(first)} {_plural(len(first), 'file')} of the session {'is' if len(first) == 1 else 'are'} "
            "missing: a monitor deletes its oldest files when the log reaches its bound"
        )
    for number in missing[len(first) :][:_SHOWN]:
        yield f"file {number:06d} of the session is missing"


def _lost(frames: Sequence[LoggedFrame]) -> Iterator[str]:
    lost = sum(frame.frames_lost for frame in frames)
    if lost:
        yield f"{lost} {_plural(lost, 'frame')} could not be recorded: a bound was reached, or the disk was full"


def _left_out(frames: Sequence[LoggedFrame]) -> Iterator[str]:
    for said, count in Counter(text for frame in frames for text in frame.left_out).items():
        yield f"left out of {count} {_plural(count, 'frame')}: {said}"


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"
