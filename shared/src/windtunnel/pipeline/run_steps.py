"""Runs any sequence of steps on raw samples, all of them or up to one; `Values` is what a step hands to the next.

values = begin(raw, steps)
for step in steps:
    values = advance(values, [step])         # finished(values): what an app has after this step
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.pipeline.op_registry import COMPUTE
from windtunnel.pipeline.ops.kinds import KINDS, Kind
from windtunnel.pipeline.ops.op_values import At
from windtunnel.pipeline.raw_samples import checked
from windtunnel.pipeline.steps import FUNCTION, Step

Array = NDArray[Any]
# One array (N, ...), or one array per sample if their shapes differ; texts as str.
Raw = Array | Sequence[Any]
# Steps that work value by value: they take numbers of any shape and type.
_POINTWISE: Final = ("normalize", "cast", "channel_order", "pad")
_SAME_SHAPE: Final = {
    "image": 'add a step such as {"op": "resize", "size": [224, 224]}',
    "audio": 'add a step such as {"op": "pad", "length": 16000} before frame',
    "text": 'add a step such as {"op": "pad", "length": 128}',
    "any": "give samples of one shape",
}


@dataclass(frozen=True, slots=True)
class Values:
    """Samples between two steps.

    Attributes:
        parts: one array (N, ...); or N arrays (1, ...) while the samples differ in shape. Images are (.., H, W, 3)
            whatever their layout.
        kind: what the samples are.
        done: how many steps were run.
        place: words before the number of a step in messages.
        sample_rate_hz: of waveforms; None: not known.
        channel_order: of images.
        layout: of images in the end; it takes effect in `finished`.
    """

    parts: tuple[Array, ...]
    kind: Kind
    done: int = 0
    place: str = "pipeline:"
    sample_rate_hz: float | None = None
    channel_order: str = "RGB"
    layout: str = "NHWC"


def begin(
    raw: Raw,
    steps: Sequence[Step],
    *,
    sample_rate_hz: float | None = None,
    kind: Kind | None = None,
    place: str = "pipeline:",
) -> Values:
    """Checks raw samples.

    Args:
        raw: images uint8 RGB (N, H, W, 3); waveforms float (N, samples) in [-1, 1]; texts (N,); or a list of such
            samples of any sizes. For steps that work value by value numbers (N, ...).
        steps: those that will be run; they say what the samples must be.
        sample_rate_hz: of waveforms; None: not known.
        kind: what the samples are if the steps do not say it.
        place: words before the number of a step in messages.

    Returns:
        The samples before the first step.

    Raises:
        InvalidInput: the samples are not what the steps work on.
    """
    found = kind_of(steps, kind)
    if steps and steps[0].op == FUNCTION:
        # The function takes what it takes.
        parts = _parts_of_any(raw)
    elif isinstance(raw, np.ndarray) and _is_pointwise(steps, raw):
        parts = (raw,)
    else:
        parts = checked(raw, found, none_ok=not steps)
    return Values(_together(parts), found, place=place, sample_rate_hz=sample_rate_hz)


def kind_of(steps: Sequence[Step], kind: Kind | None = None) -> Kind:
    """What steps work on.

    Args:
        steps: of a pipeline.
        kind: what the samples are if the steps do not say it.

    Returns:
        The kind of the first step that works on one kind only; "any" if nothing says it.
    """
    return next((KINDS[step.op] for step in steps if KINDS.get(step.op, "any") != "any"), None) or kind or "any"


def advance(values: Values, steps: Sequence[Step]) -> Values:
    """Runs steps.

    Args:
        values: from `begin`, or of the step before.
        steps: what follows.

    Returns:
        The samples after the last step.

    Raises:
        InvalidInput: the samples do not fit a step, which is named.
    """
    for step in steps:
        values = replace(_after(values, step), done=values.done + 1)
    return values


def finished(values: Values) -> Array:
    """What an app has after the last step.

    Args:
        values: the samples.

    Returns:
        (N, ...), the channels of images last or first as `layout` says.

    Raises:
        InvalidInput: the samples differ in shape.
    """
    shapes = sorted({part.shape[1:] for part in values.parts})
    if len(shapes) > 1:
        what = {"image": "images", "audio": "waveforms", "text": "texts", "any": "samples"}[values.kind]
        raise InvalidInput(
            f"the {what} have different shapes after {values.place.rstrip(':').replace('pipeline', 'the pipeline')}: "
            f"{', '.join(map(str, shapes[:4]))}",
            hint=_SAME_SHAPE[values.kind],
        )
    joined = values.parts[0] if len(values.parts) == 1 else np.concatenate(values.parts)
    if values.layout == "NCHW" and joined.ndim == 4:
        joined = joined.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(joined)


def apply_steps(
    steps: Sequence[Step],
    raw: Raw,
    *,
    sample_rate_hz: float | None = None,
    kind: Kind | None = None,
    stop: int | None = None,
) -> Array:
    """Runs steps on raw samples.

    Args:
        steps: in order.
        raw: as `begin` takes it.
        sample_rate_hz: of waveforms; None: not known.
        kind: what the samples are if the steps do not say it.
        stop: how many steps to run; None: all.

    Returns:
        (N, ...) after the last step that was run.

    Raises:
        InvalidInput: the samples do not fit a step, which is named, or differ in shape in the end.
    """
    return finished(advance(begin(raw, steps, sample_rate_hz=sample_rate_hz, kind=kind), steps[:stop]))


def after_each_step(
    steps: Sequence[Step], raw: Raw, *, sample_rate_hz: float | None = None, kind: Kind | None = None
) -> Iterator[Values]:
    """What every step gives: first the raw samples, then after each step. A search may continue from any of them.

    Args:
        steps: in order.
        raw: as `begin` takes it.
        sample_rate_hz: of waveforms; None: not known.
        kind: what the samples are if the steps do not say it.

    Yields:
        The samples, one more time than there are steps.

    Raises:
        InvalidInput: the samples do not fit a step, which is named.
    """
    values = begin(raw, steps, sample_rate_hz=sample_rate_hz, kind=kind)
    yield values
    for step in steps:
        values = advance(values, [step])
        yield values


def _after(values: Values, step: Step) -> Values:
    if step.op == "layout":
        return replace(values, layout=step.fields["to"])
    if step.op == "channel_order":
        if step.fields["to"] == values.channel_order:
            return values
        return replace(values, parts=tuple(part[..., ::-1] for part in values.parts), channel_order=step.fields["to"])
    at = At(f"{values.place} step {values.done} ({step.op})", values.sample_rate_hz)
    parts: list[Array] = []
    for part in values.parts:
        result = _called(step, part, at) if step.function is not None else COMPUTE[step.op](part, step.fields, at)
        parts += [result] if isinstance(result, np.ndarray) else result
    rate = float(step.fields["to"]) if step.op == "resample" else values.sample_rate_hz
    return replace(values, parts=_together(tuple(parts)), sample_rate_hz=rate)


def _called(step: Step, part: Array, at: At) -> Array:
    """What a function of the caller's gives.

    Raises:
        InvalidInput: it raises, or does not give an array with a row per sample.
    """
    assert step.function is not None
    try:
        result = np.asarray(step.function(part))
    except Exception as error:
        raise InvalidInput(
            f"{at.where}: the function {_name(step)} raised {type(error).__name__}: {str(error)[:200]}"
        ) from error
    if result.ndim < 1 or len(result) != len(part):
        raise InvalidInput(
            f"{at.where}: the function {_name(step)} was given {len(part)} samples and gave the shape "
            f"{list(result.shape)}",
            hint="it must return one row for every sample",
        )
    return result


def _name(step: Step) -> str:
    return repr(getattr(step.function, "__name__", type(step.function).__name__))


def _together(parts: tuple[Array, ...]) -> tuple[Array, ...]:
    """One array if all samples have one shape: the steps are faster on it."""
    if len(parts) < 2 or len({part.shape[1:] for part in parts}) > 1:
        return parts
    return (np.concatenate(parts),)


def _parts_of_any(raw: Raw) -> tuple[Array, ...]:
    if isinstance(raw, np.ndarray):
        return (raw,)
    return tuple(np.asarray(one)[None] for one in raw)


def _is_pointwise(steps: Sequence[Step], raw: Array) -> bool:
    """Whether all steps work value by value, and the array has the three channels of those that need them."""
    if raw.dtype.kind not in "buif" or raw.ndim < 1 or 0 in raw.shape or not steps:
        return False
    channels = raw.shape[-1] if raw.ndim >= 3 else 0
    for step in steps:
        needs_channels = step.op == "channel_order" or (
            step.op == "normalize" and any(isinstance(step.fields[key], list) for key in ("scale", "offset"))
        )
        if step.op not in _POINTWISE or (needs_channels and channels != 3):
            return False
    return True
