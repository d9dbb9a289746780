"""The raw samples of an edge.npz: one array, or one array for each frame, for one input or several."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from windtunnel.diagnosis.recording.edge_recording import ONLY, Array, Rows
from windtunnel.errors import InvalidInput

_SHOWN: Final = 80
_FORM: Final = (
    "raw samples are images uint8 RGB (N, height, width, 3), audio float32 (N, samples) in [-1, 1] or texts (N,); "
    "raw/0, raw/1, ... one by one if their sizes differ"
)


def raw_rows(path: Path, only: Array | None, named: Mapping[str, Array], inputs: tuple[str, ...]) -> dict[str, Rows]:
    """Raw samples by input name.

    `raw/<i>` is sample i, `raw/<input>` all samples of an input, `raw/<input>/<i>` one of them. A number that is the
    name of a model input in the same file counts as a name.

    Args:
        path: the file, for messages.
        only: the array `raw`; None: there is none.
        named: the arrays `raw/...`, by the name after the slash.
        inputs: names of the model's inputs in the file.

    Returns:
        The samples; empty: the file has none.

    Raises:
        InvalidInput: an array that cannot be a raw sample, or numbers with a gap.
    """
    if only is not None and named:
        raise InvalidInput(f"{path}: there is both 'raw' and 'raw/{next(iter(named))[:_SHOWN]}'", hint=_FORM)
    if only is not None:
        return {ONLY: _all_at_once(path, "raw", only)}
    whole, single = _split(named, inputs)
    rows: dict[str, Rows] = {name: _all_at_once(path, f"raw/{name}", array) for name, array in whole.items()}
    for name, numbered in single.items():
        if name in rows:
            raise InvalidInput(f"{path}: there is both 'raw/{name[:_SHOWN]}' and 'raw/{name[:_SHOWN]}/0'", hint=_FORM)
        rows[name] = _one_by_one(path, f"raw/{name}/" if name else "raw/", numbered)
    if ONLY in rows and len(rows) > 1:
        raise InvalidInput(
            f"{path}: there are both 'raw/0' and 'raw/{next(name for name in rows if name)[:_SHOWN]}'",
            hint="write raw/<input>/<i> for each input",
        )
    return rows


def _split(named: Mapping[str, Array], inputs: tuple[str, ...]) -> tuple[dict[str, Array], dict[str, dict[int, Array]]]:
    """What holds all samples of an input, and single samples by input and number."""
    whole: dict[str, Array] = {}
    single: dict[str, dict[int, Array]] = {}
    for name, array in named.items():
        folder, _, last = name.rpartition("/")
        if name in inputs or not (last.isascii() and last.isdigit()):
            whole[name] = array
        else:
            single.setdefault(folder or ONLY, {})[int(last)] = array
    return whole, single


def _one_by_one(path: Path, prefix: str, numbered: Mapping[int, Array]) -> Rows:
    missing = next((number for number in range(len(numbered)) if number not in numbered), None)
    if missing is not None:
        raise InvalidInput(
            f"{path}: there are {len(numbered)} arrays '{prefix[:_SHOWN]}<i>', and '{prefix[:_SHOWN]}{missing}' is "
            "missing",
            hint="count them from 0, without a gap",
        )
    rows = [numbered[number] for number in range(len(numbered))]
    for number, row in enumerate(rows):
        _check(path, f"{prefix}{number}", row, row.ndim, row.shape[-1] if row.ndim else 0)
    if all(row.dtype.kind in "SU" for row in rows):
        return _texts(path, prefix, np.array([row.reshape(()) for row in rows]))
    ranks = {(row.ndim, row.dtype) for row in rows}
    if len(ranks) > 1:
        said = " and ".join(sorted(f"{dtype} with {rank} dimensions" for rank, dtype in ranks))
        raise InvalidInput(f"{path}: the arrays '{prefix[:_SHOWN]}<i>' are {said}", hint=_FORM)
    return np.stack(rows) if len({row.shape for row in rows}) == 1 else rows


def _all_at_once(path: Path, name: str, array: Array) -> Array:
    _check(path, name, array, array.ndim - 1, array.shape[-1] if array.ndim else 0)
    return _texts(path, name, array) if array.dtype.kind in "SU" else array


def _check(path: Path, name: str, array: Array, rank: int, last: int) -> None:
    """Checks that an array is a kind of raw sample with `rank` dimensions.

    Raises:
        InvalidInput: it is not, or has no values, NaN or infinity.
    """
    kind = array.dtype.kind
    is_image = array.dtype == np.uint8 and rank == 3 and last == 3
    is_audio = kind == "f" and rank == 1
    is_text = kind in "SU" and rank == 0
    if not (is_image or is_audio or is_text):
        raise InvalidInput(
            f"{path}: {name[:_SHOWN]!r} is of dtype {array.dtype} and shape {array.shape}", hint=_hint(array, rank)
        )
    if kind == "f" and not np.isfinite(array).all():
        finite = np.isfinite(array).reshape(1 if array.ndim == 1 else len(array), -1).all(axis=1)
        where = "" if array.ndim == 1 else f" of frame {int(np.argmin(finite))}"
        raise InvalidInput(
            f"{path}: {name[:_SHOWN]!r}{where} holds NaN or infinity", hint="remove the frame from all arrays"
        )
    if (is_image or is_audio) and 0 in array.shape:
        raise InvalidInput(f"{path}: {name[:_SHOWN]!r} is empty: shape {array.shape}", hint="record at least one frame")


def _hint(array: Array, rank: int) -> str:
    if rank in (2, 3) and array.dtype == np.uint8:
        return f"{_FORM}; repeat the channel of a gray image three times, and leave out alpha"
    if rank == 3:
        return f"{_FORM}; store the image as it was before preprocessing, as uint8"
    if rank == 1 and array.dtype.kind in "iu":
        return f"{_FORM}; divide 16-bit samples by 32768"
    return _FORM


def _texts(path: Path, name: str, array: Array) -> Array:
    if array.dtype.kind == "U":
        return array
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: {name[:_SHOWN]!r} holds text that is not UTF-8", hint=_FORM) from error
