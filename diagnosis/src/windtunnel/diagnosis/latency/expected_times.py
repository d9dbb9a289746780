"""What an op should take, from the model's other ops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.latency.op_costs import OpCost
from windtunnel.diagnosis.thresholds.latency_thresholds import (
    CLEAR_TICKS,
    FIT_AS_WELL,
    FIT_LEAST_MISS,
    FIT_ROUNDS,
    LEAST_PEERS,
    SLOWER_FACTORS,
    SLOWER_SPREADS,
)

Level = Literal["kind", "family", "model"]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an op should take: `ms`, and the factor above it that its peers' own spread makes remarkable.

    `level` says who the peers are: ops of the same kind and precision, of the same family, or all of the model.
    """

    ms: float
    factor: float
    level: Level
    peers: tuple[int, ...]
    spread: float


def expect(cost: OpCost, costs: Sequence[OpCost], times: NDArray[np.float64], resolution: float) -> Expectation | None:
    """The expected time of one op, from the others that were timed.

    Peers of the same kind: t = a * MACs + b * bytes + c without negative coefficients. It is fitted to the peers by
    iteratively reweighted least squares on relative errors (least absolute deviations, Schlossmacher 1973), so that
    half of the peers may be slow too. If several subsets of the terms explain the peers equally well, the one that
    expects most counts: equal peers cannot show whether multiplications or calls cost the time, and an op is slow only
    if no explanation covers it. Other peers: the larger of the median times per MAC and per byte.

    Args:
        cost: the op.
        costs: of the timed ops; the op itself is left out.
        times: what each takes, in ms.
        resolution: what a time is at least, in ms.

    Returns:
        None if there are too few peers.
    """
    others = [(one, time) for one, time in zip(costs, times, strict=True) if one.op_index != cost.op_index]
    for level in ("kind", "family", "model"):
        peers = _measurable([pair for pair in others if _is_peer(cost, pair[0], level)], LEAST_PEERS[level], resolution)
        if len(peers) < LEAST_PEERS[level]:
            continue
        taken = np.array([time for _, time in peers])
        models = [one for one, _ in peers]
        ms, spread = _fitted(cost, models, taken) if level == "kind" else _rated(cost, models, taken)
        factor = float(np.clip(np.exp(SLOWER_SPREADS * spread), *SLOWER_FACTORS[level]))
        return Expectation(max(ms, resolution), factor, level, tuple(one.op_index for one in models), spread)
    return None


def _measurable(peers: Sequence[tuple[OpCost, float]], least: int, resolution: float) -> list[tuple[OpCost, float]]:
    """Peers that take long enough for the clock; if they are too few, all, with at least one tick each."""
    clear = [(one, time) for one, time in peers if time >= CLEAR_TICKS * resolution]
    return clear if len(clear) >= least else [(one, max(time, resolution)) for one, time in peers]


def _is_peer(cost: OpCost, other: OpCost, level: Level) -> bool:
    if other.family in ("unknown", "control") or not other.effort:
        return False
    if level == "kind":
        return other.kind == cost.kind
    return level == "model" or other.family == cost.family


def _terms(costs: Sequence[OpCost]) -> NDArray[np.float64]:
    return np.array([[one.macs, one.effort, 1.0] for one in costs], dtype=np.float64)


def _fitted(cost: OpCost, peers: Sequence[OpCost], times: NDArray[np.float64]) -> tuple[float, float]:
    """(expectation in ms, spread of the peers around their fit as the median of |ln(time / fit)|)."""
    terms, own = _terms(peers), _terms([cost])[0]
    fits = []
    for size in range(1, min(3, len(peers) - 1) + 1):
        for chosen in combinations(range(3), size):
            found = _robust_fit(terms[:, chosen], times)
            if found is not None:
                fitted = terms[:, chosen] @ found
                spread = float(np.median(np.abs(np.log(times / np.maximum(fitted, 1e-12)))))
                fits.append((spread, float(own[list(chosen)] @ found)))
    least = min(spread for spread, _ in fits)
    ms = max(ms for spread, ms in fits if spread <= least + FIT_AS_WELL)
    return ms, least


def _robust_fit(terms: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Coefficients of least absolute relative deviations; None where one would be negative or nothing depends on it."""
    if not terms.any(axis=0).all():
        return None
    relative = terms / times[:, None]
    scale = np.abs(relative).max(axis=0)
    relative = relative / scale
    weights = np.ones(len(times))
    for _ in range(FIT_ROUNDS):
        root = np.sqrt(weights)
        found, _, rank, _ = np.linalg.lstsq(relative * root[:, None], root, rcond=1e-9)
        if rank < relative.shape[1]:
            return None
        weights = 1.0 / np.maximum(np.abs(1.0 - relative @ found), FIT_LEAST_MISS)
    return None if (found < 0).any() else np.asarray(found / scale, dtype=np.float64)


def _rated(cost: OpCost, peers: Sequence[OpCost], times: NDArray[np.float64]) -> tuple[float, float]:
    """By rates: ops that are less similar share the speed of the machine, not a law."""
    efforts = np.array([one.effort for one in peers])
    by_bytes = times / efforts
    ms, spread = float(np.median(by_bytes)) * cost.effort, _spread(by_bytes)
    macs = np.array([one.macs for one in peers], dtype=np.float64)
    if cost.macs and np.count_nonzero(macs) >= 2:
        by_macs = times[macs > 0] / macs[macs > 0]
        other = float(np.median(by_macs)) * cost.macs
        if other > ms:
            ms, spread = other, _spread(by_macs)
    return ms, spread


def _spread(rates: NDArray[np.float64]) -> float:
    logs = np.log(rates)
    return float(np.median(np.abs(logs - np.median(logs))))
