"""Reads what an app recorded: the one entry for edge.npz files and edge logs."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

from windtunnel.diagnosis.recording.build_recording import build_recording
from windtunnel.diagnosis.recording.edge_recording import EdgeRecording
from windtunnel.diagnosis.recording.read_npz import read_npz_recording
from windtunnel.diagnosis.recording.read_sessions import read_sessions
from windtunnel.errors import InvalidInput, NotFound

_LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_MCAP: Final = b"\x89MCAP0\r\n"


def read_recordings(path: Path) -> tuple[EdgeRecording, ...]:
    """Reads what apps recorded. The content decides what a file is.

    Args:
        path: an edge.npz, a file of an edge log, or a folder with the files of one or more edge logs.

    Returns:
        The recordings: one for an edge.npz, one for each session of an edge log.

    Raises:
        NotFound: the path does not exist.
        InvalidInput: it is neither, is damaged, or has no frame.
    """
    if not path.exists():
        raise NotFound(f"there is no recording at {path}")
    if not path.is_dir() and _is_npz(path):
        return (read_npz_recording(path),)
    sessions = read_sessions(path)
    alone = len(sessions) == 1
    with_frames = [one for one in sessions if one.frames]
    if not with_frames:
        raise InvalidInput(
            f"{path} has readings of sensors and no frame", hint="record frames: Monitor.frame() in the app"
        )
    return tuple(build_recording(one, str(path) if alone else f"{path}: {one.name}") for one in with_frames)


def read_recording(path: Path) -> EdgeRecording:
    """Reads the only recording of a path.

    Args:
        path: an edge.npz, or an edge log of one session.

    Returns:
        The recording.

    Raises:
        NotFound: the path does not exist.
        InvalidInput: it is not a recording, is damaged, or has several sessions.
    """
    found = read_recordings(path)
    if len(found) > 1:
        raise InvalidInput(
            f"{path} has {len(found)} recordings: {', '.join(one.source.rpartition(': ')[2] for one in found[:5])}",
            hint="give the file of one session",
        )
    return found[0]


def _is_npz(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
    if head == _LFS_POINTER:
        raise InvalidInput(f"{path} is a Git LFS pointer, not a recording", hint="fetch the file: git lfs pull")
    if head.startswith(_MCAP):
        return False
    # A cut .npz has lost its directory, which is at its end, and still begins like one.
    if head[:2] == b"PK" or path.suffix == ".npz" or zipfile.is_zipfile(path):
        return True
    if path.suffix != ".mcap":
        raise InvalidInput(
            f"{path} is not a recording",
            hint="give an edge.npz (arrays raw, input and output), or the edge log of a windtunnel monitor (*.mcap)",
        )
    return False
