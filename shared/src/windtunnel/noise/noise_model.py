"""The noise of one pool: a probability for each way in which its jobs may spread."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final, Self

import numpy as np

from windtunnel.errors import InvalidInput
from windtunnel.noise.job_model import (
    HYPOTHESES,
    Array,
    Hypothesis,
    group_log_likelihood,
    information,
    log_figures,
    pair_differences,
    pair_offsets,
)
from windtunnel.noise.looks import LIKELIER, MOST_JOBS, confidence

SCHEMA: Final = "windtunnel.noise/1"
# Hypotheses below this share of the likeliest one are left out: together they change no figure that is shown.
_NEGLIGIBLE: Final = 1e-5
_WORD_DIGITS: Final = 9
_NORMAL: Final = NormalDist()
# One pair of identical jobs in 20 differs by more than `Noise.difference`.
_PAIRS: Final = 0.95
# Groups of jobs whose likelihoods are kept: cells of one device learn from the same ones.
_GROUPS: Final = 4096


@dataclass(frozen=True, slots=True)
class Noise:
    """What identical jobs of a pool differ by.

    Attributes:
        weights: probability of each of `HYPOTHESES`; they add up to 1.
        jobs: how many identical jobs of the pool itself it was learned from; 0: the prior alone.
    """

    weights: tuple[float, ...]
    jobs: int = 0

    def __post_init__(self) -> None:
        if len(self.weights) != len(HYPOTHESES):
            raise InvalidInput(f"{len(self.weights)} weights of noise were given", hint=f"give {len(HYPOTHESES)}")
        if not (all(0.0 <= weight <= 1.0 for weight in self.weights) and abs(sum(self.weights) - 1.0) < 1e-6):
            raise InvalidInput("the weights of noise are not probabilities", hint="they must add up to 1")

    def learned(self, groups: Iterable[Sequence[float]]) -> Noise:
        """The posterior after identical jobs: weight times p(jobs | hypothesis), by Bayes' rule.

        Args:
            groups: the figures of identical jobs of one model each, any unit. What groups differ by counts as nothing;
                a group of one job says nothing.

        Returns:
            This noise, updated.

        Raises:
            InvalidInput: a figure is not a finite number above 0.
        """
        kept = [tuple(sorted(group)) for group in groups if len(group) > 1]
        if not kept:
            return self
        with np.errstate(divide="ignore"):
            logs = np.log(np.asarray(self.weights))
        for group in kept:
            logs = logs + _likelihood(group)
        weights = np.exp(logs - logs.max())
        return Noise(_shares(weights), self.jobs + sum(map(len, kept)))

    @property
    def likely(self) -> tuple[int, ...]:
        """Indices of the hypotheses that are not negligible."""
        most = max(self.weights)
        return tuple(index for index, weight in enumerate(self.weights) if weight > _NEGLIGIBLE * most)

    @property
    def difference(self) -> float:
        """By how much one of two identical jobs is slower in 1 of 20 pairs: 0.08 is 8 %.

        A rule that compares one job with one job needs this limit for 5 % of false alarms.
        """
        likely = list(self.likely)
        below = np.asarray(self.weights)[likely] @ pair_differences()[likely]
        return math.expm1(float(np.interp(_PAIRS, below / below[-1], pair_offsets())))

    def power(self, increase: float, max_increase: float, jobs: int = MOST_JOBS) -> float:
        """The probability that `compare` finds a true increase with so many jobs each.

        The estimate of the ratio is taken as normal with the variance 2 / (jobs I), I the Fisher information of one job
        (Cramer-Rao), so this is what the noise allows at best.

        Args:
            increase: true increase of the candidate, above 0; 0.1 is 10 %.
            max_increase: the limit of the gate.
            jobs: of the candidate and of the baseline each.

        Returns:
            0 to 1.
        """
        above, limit = math.log1p(increase), math.log1p(max_increase)
        error = np.sqrt(2.0 / (jobs * information()))
        needed = _needed(error, limit, confidence(jobs, jobs))
        return float(sum(w * _NORMAL.cdf(z) for w, z in zip(self.weights, (above - needed) / error, strict=True)))

    def to_json(self) -> dict[str, Any]:
        """The noise as JSON values; `from_json` reads them."""
        likely = [
            {**HYPOTHESES[i]._asdict(), "weight": float(f"{self.weights[i]:.{_WORD_DIGITS}g}")} for i in self.likely
        ]
        return {"schema": SCHEMA, "jobs": self.jobs, "hypotheses": likely}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The noise that `to_json` wrote.

        Args:
            document: JSON values.

        Returns:
            The noise.

        Raises:
            InvalidInput: the document is not one of this version.
        """
        if document.get("schema") != SCHEMA:
            raise InvalidInput(f"the schema of the noise is {document.get('schema')!r}", hint=f"expected {SCHEMA}")
        weights = np.zeros(len(HYPOTHESES))
        try:
            for one in document["hypotheses"]:
                triple = Hypothesis(one["scale"], one["slow_share"], one["slow_length"])
                weights[HYPOTHESES.index(triple)] = one["weight"]
            jobs = int(document["jobs"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"the noise cannot be read: {error!r}", hint="write it with to_json") from error
        if not (np.isfinite(weights).all() and weights.min() >= 0.0 and weights.sum() > 0.0):
            raise InvalidInput("the weights of the noise are not probabilities", hint="write it with to_json")
        return cls(_shares(weights), jobs)


@functools.lru_cache(_GROUPS)
def _likelihood(group: tuple[float, ...]) -> Array:
    found = group_log_likelihood(log_figures(group, "history"))
    found.flags.writeable = False
    return found


def mixed(parts: Sequence[Noise], shares: Sequence[float]) -> Noise:
    """A weighted mean of noises.

    Args:
        parts: at least one.
        shares: the weight of each, above 0.

    Returns:
        The mean, learned from no job of its own.
    """
    total = np.sum([share * np.asarray(part.weights) for part, share in zip(parts, shares, strict=True)], axis=0)
    return Noise(_shares(total))


def _needed(error: Array, limit: float, confident: float) -> Array:
    """The estimate that makes a candidate slower; see `compare`."""
    material = limit + _NORMAL.inv_cdf(LIKELIER) * error
    return np.asarray(np.maximum(material, _NORMAL.inv_cdf(confident) * error))


def _shares(weights: Array) -> tuple[float, ...]:
    return tuple((weights / weights.sum()).tolist())
