"""The ops on numbers of any kind: images, waveforms, spectra, ids."""

from __future__ import annotations

import numpy as np

from windtunnel.errors import InvalidInput
from windtunnel.pipeline.ops.op_values import Array, At, Fields


def normalize(values: Array, fields: Fields, at: At) -> Array:
    """y = x * scale + offset in float32; per channel in the order that the channels have at this step.

    Args:
        values: numbers (n, ...).
        fields: `scale` and `offset`, a number or three.
        at: the place of the step.

    Returns:
        float32 (n, ...).

    Raises:
        InvalidInput: the result is not finite, or there are not as many channels as numbers.
    """
    for name in ("scale", "offset"):
        if isinstance(fields[name], list) and values.shape[-1:] != (len(fields[name]),):
            raise InvalidInput(
                f"{at.where}: field {name!r} has {len(fields[name])} numbers, the values have the shape "
                f"{list(values.shape[1:])}",
                hint="one number per channel is for images of 3 channels; give one number",
            )
    with np.errstate(over="ignore", invalid="ignore"):
        scale, offset = (np.asarray(fields[name]).astype(np.float32) for name in ("scale", "offset"))
        result = values.astype(np.float32) * scale + offset
    if not np.isfinite(result).all():
        raise InvalidInput(f"{at.where}: the result is not finite", hint="scale and offset are too large for float32")
    return result


def cast(values: Array, fields: Fields, at: At) -> Array:
    """To an integer: truncated toward zero as tf.cast, or rounded half to even.

    Args:
        values: numbers (n, ...).
        fields: `to`, `rounding`, `saturate`.
        at: the place of the step.

    Returns:
        (n, ...) of the type `to`.

    Raises:
        InvalidInput: a value is out of range, unless `saturate` is set.
    """
    dtype = np.dtype(fields["to"])
    if dtype.kind == "f":
        whole, low, high = values, -float(np.finfo(dtype).max), float(np.finfo(dtype).max)
    else:
        whole = np.trunc(values) if fields["rounding"] == "truncate" else np.rint(values)
        limits = np.iinfo(fields["to"])
        low, high = float(limits.min), float(limits.max)
    if fields["saturate"]:
        return np.clip(whole.astype(np.float64), low, high).astype(dtype)
    if whole.min() < low or whole.max() > high:
        raise InvalidInput(
            f"{at.where}: values from {whole.min():g} to {whole.max():g} do not fit {dtype}",
            hint='add "saturate": true, or another normalize',
        )
    return whole.astype(dtype)


def pad(values: Array, fields: Fields, at: At) -> Array:
    """Appends `value` to what is shorter than `length`, and cuts the end of what is longer.

    Args:
        values: ids or waveforms (n, length before).
        fields: `length` and `value`.
        at: the place of the step.

    Returns:
        (n, `length`) of the same type.

    Raises:
        InvalidInput: the samples are not lists of numbers, or their type does not hold `value`.
    """
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise InvalidInput(
            f"{at.where}: works on ids or waveforms (N, length), not on {values.dtype} {list(values.shape)}",
            hint="put it after tokenize, or before frame",
        )
    length = fields["length"]
    result = np.zeros((len(values), length), values.dtype)
    result[:, : values.shape[1]] = values[:, :length]
    if values.shape[1] < length:
        with np.errstate(invalid="ignore", over="ignore"):
            filler = np.asarray(fields["value"]).astype(values.dtype)
        if filler.dtype.kind != "f" and filler != fields["value"]:
            raise InvalidInput(f"{at.where}: field 'value' is {fields['value']}, which does not fit {values.dtype}")
        result[:, values.shape[1] :] = filler
    return result
