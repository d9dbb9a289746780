"""Trying pipelines on labeled samples: which one makes a model right more often than the one in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.candidates import Candidate
from windtunnel.datacheck.chance import ALPHA, better_by_luck
from windtunnel.errors import WindtunnelError

# Right or not, or the share of right elements, of the samples at these indices under a pipeline.
Judge = Callable[[Mapping[str, Any], NDArray[np.int64]], NDArray[np.float64]]

# All candidates on a few samples, then the best of them on more.
FIRST: Final = 32
LAST: Final = 256
FINALISTS: Final = 3
# Scores that differ by no more are as good.
_AS_GOOD: Final = 0.01


@dataclass(frozen=True, slots=True)
class Tried:
    """A pipeline that was tried on `samples` samples: its mean score, and how many samples it made right and wrong.

    `sure`: more than luck, for as many candidates as were tried.
    """

    what: str
    pipeline: Mapping[str, Any]
    score: float
    before: float
    samples: int
    gained: int = 0
    lost: int = 0
    sure: bool = False

    def as_good_as(self, best: Tried) -> bool:
        """Whether its score differs too little from that of `best` to prefer one of them.

        Args:
            best: another trial on the same samples.

        Returns:
            True if neither is preferred.
        """
        return self.score >= best.score - _AS_GOOD

    def to_json(self, measure: str) -> dict[str, Any]:
        """The entry of `tried` in a finding's evidence.

        Args:
            measure: name of what the scores measure.

        Returns:
            A JSON object.
        """
        return {
            "what": self.what,
            "measure": measure,
            "score": self.score,
            "as_given": self.before,
            "samples": self.samples,
            "pipeline": dict(self.pipeline),
        }


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """Evenly spread indices: samples are often sorted by class.

    Args:
        count: how many samples there are.
        wanted: how many are enough.

    Returns:
        At most `wanted` indices, ascending.
    """
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))


def try_all(
    given: Iterable[Candidate],
    before: Sequence[Mapping[str, Any]],
    right: NDArray[np.float64],
    judge: Judge,
    *,
    first: int = FIRST,
    task: str | None = None,
) -> list[Tried]:
    """Tries candidates after the steps `before`.

    Args:
        given: the candidates.
        before: the steps that run first.
        right: score of each sample as it is fed now, in [0, 1].
        judge: scores the samples at some indices under a pipeline. May raise WindtunnelError.
        first: on so many samples all candidates are tried; the best three are tried on more if they are better than
            now.
        task: of the model; None: not stated.

    Returns:
        The best first; candidates that cannot be used are left out.
    """
    pipelines = [(one.what, one.pipeline(before, task)) for one in given]
    few, more = spread(len(right), first), spread(len(right), LAST)
    tried = [found for what, pipeline in pipelines if (found := _try(what, pipeline, few, right, judge)) is not None]
    tried.sort(key=lambda one: one.score, reverse=True)
    better = [one for one in tried[:FINALISTS] if one.score > one.before]
    if len(more) > len(few):
        better = [again for one in better if (again := _try(one.what, one.pipeline, more, right, judge)) is not None]
    # The most usual of those that are as good comes first.
    order = [what for what, _ in pipelines]
    best = max((one.score for one in better), default=0.0)
    better.sort(key=lambda one: (-min(one.score, best - _AS_GOOD), order.index(one.what)))
    left = [one for one in tried if one.what not in {other.what for other in better}]
    return [*(_judged(one, len(tried)) for one in better), *left]


def _judged(one: Tried, candidates: int) -> Tried:
    """With `sure`: the chance of luck times the number of candidates (Bonferroni) is under ALPHA."""
    sure = better_by_luck(one.gained, one.lost) * candidates < ALPHA
    return Tried(one.what, one.pipeline, one.score, one.before, one.samples, one.gained, one.lost, sure)


def _try(
    what: str, pipeline: Mapping[str, Any], indices: NDArray[np.int64], right: NDArray[np.float64], judge: Judge
) -> Tried | None:
    try:
        scores = judge(pipeline, indices)
    except WindtunnelError:
        # For these samples there is no such pipeline, or the model gives no figures under it.
        return None
    now = right[indices]
    gained, lost = int((scores > now).sum()), int((scores < now).sum())
    return Tried(what, pipeline, float(scores.mean()), float(now.mean()), len(indices), gained, lost)
