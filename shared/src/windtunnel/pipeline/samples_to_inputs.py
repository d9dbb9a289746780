"""From samples to what a model takes, one sample at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.input_shapes import InputSpec, bare_name, shape_words
from windtunnel.pipeline.class_folders import ImageFiles
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
    sources = match_names(samples, input_details)
    raw = None if pipeline is None else _raw_input(samples)
    for index in range(samples.count):
        arrays = {}
        for spec in input_details:
            name = sources[spec.name]
            row = _row(samples.inputs[name], index)
            if pipeline is not None and name == raw:
                row = pipeline.apply(row[None])[0]
            arrays[spec.name] = _fitted(row, spec, index, prepared=pipeline is not None)
        yield arrays


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


def _raw_input(samples: Samples) -> str:
    """The one input that a pipeline works on.

    Raises:
        InvalidInput: none or several of the inputs hold raw images.
    """
    if len(samples.inputs) == 1:
        return next(iter(samples.inputs))
    images = [name for name, rows in samples.inputs.items() if _holds_images(rows)]
    if len(images) != 1:
        raise InvalidInput(
            f"the pipeline works on one input, but {len(images)} of {len(samples.inputs)} hold raw images",
            hint="preprocess the samples beforehand and leave the pipeline out",
        )
    return images[0]


def _holds_images(rows: Rows) -> bool:
    if isinstance(rows, np.ndarray):
        return rows.dtype == np.uint8 and rows.ndim == 4 and rows.shape[-1] == 3
    return True


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
