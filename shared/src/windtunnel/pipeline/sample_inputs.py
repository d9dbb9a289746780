"""A model's inputs from a path to samples, or made up where there are none."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.pipeline.inputs import InputSpec, model_inputs
from windtunnel.pipeline.parse import Pipeline
from windtunnel.pipeline.samples import Samples, load_samples

SYNTHETIC_COUNT = 8


@dataclass(frozen=True, slots=True)
class SampleInputs:
    """`count` samples as `model_inputs` yields them; may be iterated more than once."""

    specs: tuple[InputSpec, ...]
    pipeline: Pipeline | None
    samples: Samples | None

    @property
    def count(self) -> int:
        return SYNTHETIC_COUNT if self.samples is None else self.samples.count

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        if self.samples is not None:
            return model_inputs(self.samples, self.pipeline, self.specs)
        return _synthetic(self.specs)


def sample_inputs(samples: Path | None, pipeline: Mapping[str, Any] | None, specs: Sequence[InputSpec]) -> SampleInputs:
    """The samples at a path through a pipeline.json's content, as a model with inputs `specs` takes them.

    With no samples: SYNTHETIC_COUNT made-up ones in the model's own shapes, the pipeline left out; the same for the
    same inputs on every call. They can compare two forms of a model, never measure accuracy.
    """
    chain = None if pipeline is None else Pipeline.parse(pipeline)
    return SampleInputs(tuple(specs), chain, None if samples is None else load_samples(samples))


def _synthetic(specs: tuple[InputSpec, ...]) -> Iterator[dict[str, NDArray[Any]]]:
    for index in range(SYNTHETIC_COUNT):
        yield {spec.name: _random(spec, index, alone=len(specs) == 1) for spec in specs}


def _random(spec: InputSpec, index: int, *, alone: bool) -> NDArray[Any]:
    """Floats in [0, 1), bytes over their range, and other integers 0 or 1, which any table has rows for."""
    shape = (1 if spec.shape[:1] == (-1,) else spec.shape[0], *spec.shape[1:]) if spec.shape else ()
    if -1 in shape:
        raise InvalidInput(
            f"input {spec.name!r} of the model has the open shape {list(spec.shape)}", hint="give samples"
        )
    # A model and its converted form name an input differently, and must be given the same values.
    name = "" if alone else spec.alias or spec.name.split(":")[0].removeprefix("serving_default_")
    generator = np.random.default_rng([zlib.crc32(name.encode()), index])
    if spec.dtype in {"string", "str", "bytes", "object"}:
        raise InvalidInput(f"input {spec.name!r} of the model takes text", hint="give samples")
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return generator.random(shape).astype(dtype)
    if dtype.itemsize == 1 and dtype.kind in "ui":
        limits = np.iinfo(spec.dtype)
        return generator.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)
