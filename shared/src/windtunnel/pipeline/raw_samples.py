"""What raw samples must be: images, waveforms, texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.pipeline.ops.kinds import Kind
from windtunnel.pipeline.ops.text.text_ops import text_array

Array = NDArray[Any]
_LEAVE_OUT = "leave the pipeline out if the samples are already what the model takes"


def checked(raw: Array | Sequence[Any], kind: Kind, *, none_ok: bool) -> tuple[Array, ...]:
    """Raw samples of a kind.

    Args:
        raw: one array (N, ...), or a list of samples of any sizes.
        kind: what the steps work on; any: what the values look like, images if nothing says it.
        none_ok: there are no steps, so that the values may be anything.

    Returns:
        One array (N, ...), or for a list one array (1, ...) per sample.

    Raises:
        InvalidInput: the samples are something else, or there are none.
    """
    if not len(raw):
        raise InvalidInput(f"there are no {'images' if kind in ('image', 'any') else 'samples'}")
    if kind == "any" and not isinstance(raw, np.ndarray) and all(_is_waveform(one) for one in raw):
        kind = "audio"
    if kind == "text" or (kind == "any" and _are_texts(raw)):
        return (_texts(raw),)
    if kind == "any" and none_ok and isinstance(raw, np.ndarray) and raw.dtype != np.uint8:
        return (_numbers(raw),)
    check = _waveforms if kind == "audio" else _images
    if isinstance(raw, np.ndarray):
        return (check(raw, whole=True),)
    return tuple(check(np.asarray(one), whole=False)[None] for one in raw)


def _images(array: Array, *, whole: bool) -> Array:
    wanted = "(N, H, W, 3)" if whole else "(H, W, 3)"
    if array.dtype != np.uint8 or array.ndim != (4 if whole else 3) or array.shape[-1] != 3 or 0 in array.shape:
        raise InvalidInput(f"raw images are uint8 RGB {wanted}, not {array.dtype} {array.shape}", hint=_LEAVE_OUT)
    return array


def _waveforms(array: Array, *, whole: bool) -> Array:
    wanted = "(N, samples)" if whole else "(samples,)"
    if array.dtype.kind != "f" or array.ndim != (2 if whole else 1) or 0 in array.shape:
        hint = "divide 16-bit samples by 32768" if array.dtype == np.int16 else _LEAVE_OUT
        raise InvalidInput(f"raw waveforms are float {wanted} in [-1, 1], not {array.dtype} {array.shape}", hint=hint)
    return _numbers(array)


def _numbers(array: Array) -> Array:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidInput("the samples hold NaN or infinity", hint="remove or repair them")
    return array


def _is_waveform(one: Any) -> bool:
    return isinstance(one, np.ndarray) and one.dtype.kind == "f" and one.ndim == 1


def _are_texts(raw: Array | Sequence[Any]) -> bool:
    if isinstance(raw, np.ndarray):
        return raw.dtype.kind in "US"
    return all(isinstance(one, (str, bytes)) for one in raw)


def _texts(raw: Array | Sequence[Any]) -> Array:
    rows = list(raw) if not isinstance(raw, np.ndarray) else raw.tolist() if raw.ndim == 1 else None
    if rows is None:
        raise InvalidInput(f"raw texts are (N,), not {raw.dtype} {raw.shape}", hint=_LEAVE_OUT)  # type: ignore[union-attr]
    return text_array([_text(row) for row in rows])


def _text(row: Any) -> str:
    if isinstance(row, np.ndarray) and row.ndim == 0:
        row = row.item()
    if isinstance(row, bytes):
        try:
            return row.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(f"a raw text is not UTF-8: {error}") from None
    if not isinstance(row, str):
        raise InvalidInput(f"raw texts are str, not {type(row).__name__} {str(row)[:40]!r}", hint=_LEAVE_OUT)
    return str(row)
