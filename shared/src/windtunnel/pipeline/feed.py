"""What a model is fed: the samples through the pipeline, or seeded random inputs if there are no samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.input_shapes import InputSpec, Shapes, bare_name, with_shapes
from windtunnel.pipeline.read_pipeline import Pipeline
from windtunnel.pipeline.samples import Samples, load_samples
from windtunnel.pipeline.samples_to_inputs import model_inputs

INVALID_SAMPLES: Final = "invalid_samples"
SYNTHETIC_COUNT = 16
SYNTHETIC_SEED = 20261120
_WORD_LENGTH = 5
_OPEN_LENGTH = 32


class Feed(Protocol):
    """Per-sample inputs of a model, (1, ...) arrays by input name; can be gone through again and again."""

    @property
    def count(self) -> int:
        """Number of samples."""
        ...

    @property
    def labels(self) -> NDArray[Any] | None:
        """Class indices (N,) or targets (N, ...); None: not given."""
        ...

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]: ...


def sample_inputs(
    samples: Path | None,
    pipeline: Mapping[str, Any] | None,
    specs: Sequence[InputSpec],
    *,
    shapes: Shapes = MappingProxyType({}),
) -> Feed:
    """What a model is fed: samples, or seeded random inputs.

    Args:
        samples: an .npz file, a folder of class folders, or an archive of one; None: random inputs.
        pipeline: content of a pipeline.json that prepares the samples; None: they are what the model takes.
        specs: the inputs of the model.
        shapes: for random inputs, sizes of dynamic dimensions by input name.

    Returns:
        The inputs.

    Raises:
        InvalidInput: samples or pipeline cannot be used, or do not fit the model.
        Unsupported: random inputs for an input that does not take numbers.
    """
    if samples is None:
        return SyntheticFeed(with_shapes(specs, shapes))
    parsed = None if pipeline is None else Pipeline.parse(pipeline)
    with samples_fault(samples):
        return SampledFeed(load_samples(samples), parsed, specs, samples)


@contextmanager
def samples_fault(samples: Path | None) -> Iterator[None]:
    """Marks faults of samples, labels or preprocessing, so that nobody looks for them in the model.

    An InvalidInput of the block gets the code INVALID_SAMPLES and the name of the file.

    Args:
        samples: the file or folder of the samples; None: there is none, and errors stay as they are.

    Yields:
        Nothing.

    Raises:
        InvalidInput: that of the block.
    """
    try:
        yield
    except InvalidInput as error:
        if samples is None or error.code not in (InvalidInput.code, INVALID_SAMPLES):
            raise
        named = error.message if samples.name in error.message else f"{samples.name}: {error.message}"
        raise InvalidInput(named, hint=error.hint, code=INVALID_SAMPLES) from error


class SampledFeed:
    """Real samples."""

    def __init__(
        self, samples: Samples, pipeline: Pipeline | None, specs: Sequence[InputSpec], path: Path | None = None
    ) -> None:
        """Samples through a pipeline.

        Args:
            samples: the samples.
            pipeline: prepares them; None: they are what the model takes.
            specs: the inputs of the model.
            path: where the samples come from, for messages; None: not known.
        """
        self._samples = samples
        self._path = path
        self._pipeline = pipeline
        self._specs = specs

    @property
    def samples(self) -> Samples:
        """The samples themselves, as they were before the pipeline."""
        return self._samples

    @property
    def count(self) -> int:
        """Number of samples."""
        return self._samples.count

    @property
    def labels(self) -> NDArray[Any] | None:
        """Class indices (N,) or targets (N, ...); None: not given."""
        return self._samples.labels

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        with samples_fault(self._path):
            yield from model_inputs(self._samples, self._pipeline, self._specs)


class SyntheticFeed:
    """Seeded random inputs: real numbers uniform in [-1, 1), integers in [0, 256) or what their type holds.

    Text is short words of lower-case letters.
    """

    labels: NDArray[Any] | None = None

    def __init__(self, specs: Sequence[InputSpec], count: int = SYNTHETIC_COUNT) -> None:
        """Random inputs.

        Args:
            specs: the inputs of the model.
            count: number of samples.

        Raises:
            Unsupported: an input that does not take numbers or text.
        """
        for spec in specs:
            if spec.dtype != "string" and np.dtype(spec.dtype).kind not in "fiub":
                raise Unsupported(f"input {spec.name!r} takes {spec.dtype}", hint="give samples")
        self._specs = specs
        self.count = count

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        # One generator for each input, by the name that its author gave: a model and its conversion may list their
        # inputs in another order.
        generators = {spec.name: np.random.default_rng([SYNTHETIC_SEED, *_bare(spec).encode()]) for spec in self._specs}
        for _ in range(self.count):
            yield {spec.name: _random(spec, generators[spec.name]) for spec in self._specs}


def _bare(spec: InputSpec) -> str:
    return spec.alias or bare_name(spec.name)


def _random(spec: InputSpec, generator: np.random.Generator) -> NDArray[Any]:
    # The first dimension is the batch, which is one sample; other open ones leave room for windows and strides.
    shape = tuple(size if size >= 0 else 1 if place == 0 else _OPEN_LENGTH for place, size in enumerate(spec.shape))
    if spec.dtype == "string":
        letters = generator.integers(0, 26, (*shape, _WORD_LENGTH)) + ord("a")
        return np.ascontiguousarray(letters.astype(np.uint32)).view(f"<U{_WORD_LENGTH}").reshape(shape)
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return generator.uniform(-1.0, 1.0, shape).astype(dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    info = np.iinfo(dtype)
    low, high = (info.min, info.max) if info.max <= 255 else (0, 255)
    return generator.integers(low, high + 1, shape).astype(dtype)
