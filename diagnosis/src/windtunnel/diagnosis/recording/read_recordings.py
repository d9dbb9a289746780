"""Reads what an app recorded: the one entry for edge.npz files and edge logs."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

from windtunnel.diagnosis.recording.edge_recording import EdgeRecording
from windtunnel.diagnosis.recording.read_npz import read_npz_recording
from windtunnel.errors import InvalidInput, NotFound

_LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"


def read_recording(path: Path) -> EdgeRecording:
    """Reads one recording.

    Args:
        path: an edge.npz.

    Returns:
        The recording.

    Raises:
        NotFound: the path does not exist.
        InvalidInput: it is not an edge.npz, is damaged, or is not whole.
    """
    if not path.exists():
        raise NotFound(f"there is no recording at {path}")
    if path.is_dir() or not _is_archive(path):
        raise InvalidInput(f"{path} is not an edge.npz", hint="write the arrays raw, input and output with numpy.savez")
    return read_npz_recording(path)


def _is_archive(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
    if head == _LFS_POINTER:
        raise InvalidInput(f"{path} is a Git LFS pointer, not a recording", hint="fetch the file: git lfs pull")
    # A cut .npz has lost its directory, which stands at the end, and still begins like one.
    return head[:2] == b"PK" or path.suffix == ".npz" or zipfile.is_zipfile(path)
