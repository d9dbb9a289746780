"""From samples to what a model takes, one sample at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.input_shapes import InputSpec, bare_name, shape_words
from windtunnel.pipeline.class_folders import ImageFiles
from windtunnel.pipeline.ops.kinds import Kind
from windtunnel.pipeline.read_pipeline import Pipeline
from windtunnel.pipeline.samples import DEFAULT_NAME, Rows, Samples

_CONVERT = 'convert the samples, or end the pipeline with {"op": "cast", "to": ...}'


def model_inputs(
    samples: Samples, pipeline: Pipeline | None, input_details: Sequence[InputSpec]
) -> Iterator[dict[str, NDArray[Any]]]:
    """The samples as inputs of a model, one by one. Nothing is reshaped, and no value is changed by a cast.

    Args:
        samples: the samples.
        pipeline: prepares them; None: they are what the model takes.
        input_details: the inputs of the model.

    Yields:
        For each sample arrays by the names of `input_details`, batch 1, in the model's shapes and dtypes.

    Raises:
        InvalidInput: samples do not fit; it names what is expected and what is found.
        Unsupported: the model takes several samples at once.
    """
    sources = _sources(samples, pipeline, input_details)
    for index in range(samples.count):
        arrays = {}
        for spec, source in zip(input_details, sources, strict=True):
            row = _row(samples.inputs[source.name], index)
            if pipeline is not None and source.steps_of is not None:
                rate = samples.sample_rate_hz
                row = pipeline.apply(row[None], sample_rate_hz=rate, name=source.steps_of)[0]
                row = _with_single_axes(row, spec)
            arrays[spec.name] = _fitted(row, spec, index, prepared=pipeline is not None)
        yield arrays


@dataclass(frozen=True, slots=True)
class _Source:
    """Where an input comes from: the name of the samples, and of the pipeline's steps; None: none prepare it."""

    name: str
    steps_of: str | None


def _sources(samples: Samples, pipeline: Pipeline | None, specs: Sequence[InputSpec]) -> list[_Source]:
    """The source of each input.

    Raises:
        InvalidInput: samples, pipeline and inputs do not match by their names.
    """
    if pipeline is not None and pipeline.inputs:
        return [_named_source(samples, pipeline, specs, spec) for spec in specs]
    names = match_names(samples, specs)
    raw = None if pipeline is None else _raw_input(samples, pipeline)
    return [_Source(names[spec.name], "" if names[spec.name] == raw else None) for spec in specs]


def _named_source(samples: Samples, pipeline: Pipeline, specs: Sequence[InputSpec], spec: InputSpec) -> _Source:
    """The source of an input of a pipeline with `inputs`; samples without a name are for all of them.

    Raises:
        InvalidInput: the model lacks an input that the pipeline names, or the pipeline or the samples lack this one.
    """
    unknown = [name for name in pipeline.inputs if not any(name in _names(one) for one in specs)]
    shown = ", ".join(one.alias or bare_name(one.name) for one in specs)
    if unknown:
        raise InvalidInput(
            f"the pipeline prepares the input {unknown[0]!r}, which the model does not have",
            hint=f"the model's inputs are {shown}",
        )
    steps = [name for name in pipeline.inputs if name in _names(spec)]
    if len(steps) != 1:
        raise InvalidInput(
            f"the pipeline has {len(steps) or 'no'} steps for the model's input {spec.alias or bare_name(spec.name)!r}",
            hint='name every input once under "inputs"; {"steps": []} takes its samples as they are',
        )
    sources = [name for name in samples.inputs if name in _names(spec)]
    if not sources and set(samples.inputs) == {DEFAULT_NAME}:
        sources = [DEFAULT_NAME]
    if len(sources) != 1:
        raise InvalidInput(
            f"the model's inputs are {shown}; the samples have {', '.join(sorted(samples.inputs))}",
            hint="name the sample arrays x/<input name>, or give one x for all of them",
        )
    return _Source(sources[0], steps[0])


def match_names(samples: Samples, specs: Sequence[InputSpec]) -> dict[str, str]:
    """Which samples feed which input of a model.

    Args:
        samples: the samples.
        specs: the inputs of the model.

    Returns:
        The name of the samples for each input, by the input's name.

    Raises:
        InvalidInput: not all of both match.
    """
    names = set(samples.inputs)
    if len(specs) == 1 and len(names) == 1 and (DEFAULT_NAME in names or names & _names(specs[0])):
        return {specs[0].name: next(iter(names))}
    matched: dict[str, str] = {}
    for spec in specs:
        found = names & _names(spec)
        if len(found) == 1:
            matched[spec.name] = found.pop()
    if len(matched) != len(specs) or set(matched.values()) != names or len(set(matched.values())) != len(specs):
        expected = ", ".join(spec.alias or spec.name for spec in specs)
        raise InvalidInput(
            f"the model's inputs are {expected}; the samples have {', '.join(sorted(names))}",
            hint="name the sample arrays x/<input name>",
        )
    return matched


def _names(spec: InputSpec) -> set[str]:
    return {spec.name, bare_name(spec.name), *([spec.alias] if spec.alias else [])}


def _with_single_axes(row: NDArray[Any], spec: InputSpec) -> NDArray[Any]:
    """Spectra and ids with the axes of size 1 that the model asks for: (frames, bins) for (1, frames, bins, 1)."""
    wanted = spec.shape[1:]
    shapes = [tuple(size for size in shape if size != 1) for shape in (row.shape, wanted)]
    if len(wanted) == row.ndim or len(shapes[0]) != len(shapes[1]) or row.dtype.kind not in "fiu":
        return row
    sizes = iter(shapes[0])
    shape = tuple(1 if size == 1 else next(sizes) for size in wanted)
    return row.reshape(shape) if _fits(shape, wanted) else row


def _raw_input(samples: Samples, pipeline: Pipeline) -> str:
    """The one input that a pipeline works on.

    Raises:
        InvalidInput: none or several of the inputs hold raw samples of the pipeline's kind.
    """
    if len(samples.inputs) == 1:
        return next(iter(samples.inputs))
    kind = pipeline.kind
    held = [name for name, rows in samples.inputs.items() if _holds(rows, kind)]
    if len(held) != 1:
        what = {"audio": "waveforms", "text": "texts"}.get(kind, "images")
        raise InvalidInput(
            f"the pipeline works on one input, but {len(held)} of {len(samples.inputs)} hold raw {what}",
            hint='give the steps of each input: "inputs": {"<input>": {"steps": [...]}}',
        )
    return held[0]


def _holds(rows: Rows, kind: Kind) -> bool:
    """Whether these are raw samples of a kind."""
    if not isinstance(rows, np.ndarray):
        return kind in ("image", "any")
    if kind == "audio":
        return rows.dtype.kind == "f" and rows.ndim == 2
    if kind == "text":
        return rows.dtype.kind in "SU" and rows.ndim == 1
    return rows.dtype == np.uint8 and rows.ndim == 4 and rows.shape[-1] == 3


def _row(rows: Rows, index: int) -> NDArray[Any]:
    if isinstance(rows, ImageFiles):
        image: NDArray[Any] = rows[index]
        return image
    return np.asarray(rows[index])


def _fitted(row: NDArray[Any], spec: InputSpec, index: int, *, prepared: bool) -> NDArray[Any]:
    if _fits((1, *row.shape), spec.shape):
        row = row[None]
    elif not _fits(row.shape, spec.shape):
        if len(spec.shape) == row.ndim + 1 and spec.shape[0] > 1:
            raise Unsupported(
                f"input {spec.name!r} of the model takes {spec.shape[0]} samples at once", hint="use batch 1"
            )
        hint = "check the pipeline's last steps" if prepared else "give a pipeline, or samples in the model's shape"
        raise InvalidInput(
            f"input {spec.name!r} of the model takes {shape_words(spec.shape)}; sample {index} gives {[1, *row.shape]}",
            hint=hint,
        )
    if not prepared and spec.stored is not None and row.dtype == spec.stored:
        return np.asarray(row, order="C")
    return _cast(row, spec, index)


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(b in {-1, a} for a, b in zip(shape, wanted, strict=True))


def _cast(row: NDArray[Any], spec: InputSpec, index: int) -> NDArray[Any]:
    """To the model's dtype.

    Raises:
        InvalidInput: a value would change (floats: by more than rounding).
    """
    if spec.dtype in {"string", "str", "bytes", "object"}:
        if row.dtype.kind not in "SU":
            raise InvalidInput(_misfit(row, spec, index), hint=_CONVERT)
        return row
    dtype = np.dtype(spec.dtype)
    if row.dtype == dtype:
        # Not np.ascontiguousarray, which gives a scalar a dimension.
        return np.asarray(row, order="C")
    if row.dtype.kind not in "buif" or (row.dtype.kind == "f" and dtype.kind != "f"):
        raise InvalidInput(_misfit(row, spec, index), hint=_CONVERT)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = np.asarray(row.astype(dtype), order="C")
    kept = np.isfinite(cast).all() if dtype.kind == "f" else (cast == row).all()
    if not kept:
        raise InvalidInput(_misfit(row, spec, index), hint=_CONVERT)
    return cast


def _misfit(row: NDArray[Any], spec: InputSpec, index: int) -> str:
    return f"input {spec.name!r} of the model takes {spec.dtype}; sample {index} is {row.dtype} and does not fit"
