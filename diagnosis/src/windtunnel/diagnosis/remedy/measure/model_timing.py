"""How long models take on a device: the port of a search, and this machine's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.remedy.measure.sample_parts import Part
from windtunnel.isolation import Pool
from windtunnel.machine import processor

Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Device:
    """What the latencies are of. `is_target`: the model is meant for it, so they may decide between recipes."""

    name: str
    is_target: bool = False


class Stopwatch(Protocol):
    """What measures the latency of models on one device."""

    @property
    def device(self) -> Device:
        """Where it measures."""
        ...

    async def race(
        self, models: Sequence[Path], part: Part, reference: Path, *, seconds: float, turns: int
    ) -> list[Times]:
        """Runs models in turns.

        Args:
            models: each takes what the float model `reference` takes, under any names.
            part: its first sample is fed.
            reference: the float model.
            seconds: for at least as long; 0 or more.
            turns: at least as many; entry i of every model is of turn i.

        Returns:
            Milliseconds of every run, (N,) per model.
        """
        ...


class ThisMachine:
    """A stopwatch on this machine: one thread, XNNPACK, in a child process.

    Args:
        pool: where native code runs.
        is_target: whether the model is meant for this machine.
    """

    def __init__(self, pool: Pool, *, is_target: bool = False) -> None:
        self._pool = pool
        self.device = Device(f"this machine ({processor()})", is_target)

    async def race(
        self, models: Sequence[Path], part: Part, reference: Path, *, seconds: float, turns: int
    ) -> list[Times]:
        """Implements `Stopwatch.race`."""
        return await self._pool.run(_race, list(models), part, reference, seconds, turns)


def _race(models: list[Path], part: Part, reference: Path, seconds: float, turns: int) -> list[Times]:
    # What it imports is only ever loaded in the child.
    from windtunnel.diagnosis.remedy.measure import measure_models as evaluate

    return evaluate.race(models, part, reference, seconds=seconds, turns=turns)
