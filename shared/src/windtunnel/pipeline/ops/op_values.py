"""What an op is given in addition to its values: its fields, the place in the pipeline, the sample rate in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class At:
    """Where a step stands: its place in words, for messages, and the sample rate of the waveform there."""

    where: str
    sample_rate_hz: float | None = None


# From samples (n, ...) to samples (n, ...), or to one array per sample if their shapes may differ.
Compute = Callable[[Array, Fields, At], Array | Sequence[Array]]
