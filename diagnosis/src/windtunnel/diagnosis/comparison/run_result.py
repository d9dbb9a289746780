"""What was run: two models over samples, before anybody judges it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from windtunnel.datacheck.findings import Finding
from windtunnel.diagnosis.execution.output_pairs import OutputPairs
from windtunnel.diagnosis.execution.pair_facts import PairFacts
from windtunnel.diagnosis.execution.run_samples import Sums
from windtunnel.diagnosis.findings.output_diff import OutputDiff
from windtunnel.diagnosis.graph import Matching, Pair
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures
from windtunnel.diagnosis.thresholds.execution_thresholds import FEWEST_TYPICAL_SAMPLES
from windtunnel.task_names import TaskSpec
from windtunnel.tasks.task_sums import TaskDiff


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How the models ran.

    `count`: how many samples. `synthetic`: they are random. `ranges`: of the random inputs that were stretched, by
    name; None: the samples were not stretched. `patches`: what looks wrong is tried with a change, and layers on other
    kernels.
    """

    threads: int
    max_samples: int | None
    count: int
    synthetic: bool
    ranges: Mapping[str, tuple[float, float]] | None
    patches: bool

    @property
    def typical(self) -> bool:
        """Whether the samples are like those that the model meets."""
        return not self.synthetic and self.count >= FEWEST_TYPICAL_SAMPLES


@dataclass(frozen=True, slots=True)
class RunResult:
    """Two models that ran over samples. Nothing in it is an interpreter, and nothing depends on a threshold.

    `matching`: which layer is which, by structure and values; `sums`: of its pairs, and of the outputs. `feedable`: the
    candidate's tensors that can be fed by hand. `overflowed`: layers that no kernels can run. `data`: findings on the
    samples. `asked`: the task that the plan or the samples name; `task`: how well both models do it.
    """

    settings: RunSettings
    facts: PairFacts
    matching: Matching
    feedable: frozenset[int]
    overflowed: tuple[Pair, ...]
    sums: Sums
    outputs: OutputPairs
    data: tuple[Finding, ...] = ()
    asked: TaskSpec | None = None
    task: TaskDiff | None = None


@dataclass(frozen=True, slots=True)
class MatchedRun:
    """The layers of a run that criteria leave to judge, the figures of each pair in their order, and of the outputs."""

    matching: Matching
    figures: tuple[LayerFigures, ...]
    output: OutputDiff
