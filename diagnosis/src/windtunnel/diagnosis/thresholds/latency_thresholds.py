"""What makes an op slow, and how times are measured (room `latency`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

HELPER_COST: Annotated[
    float,
    Threshold(
        "cost of an assignment",
        "A helper operator of a delegate that is assigned to an op costs this.",
        "chosen",
        "Only the order of the three costs matters: helper, missing, wrong.",
    ),
] = 0.25

DROPPED_COST: Annotated[
    float,
    Threshold(
        "cost of an assignment",
        "An op without an operator of the delegate costs this.",
        "chosen",
        "See HELPER_COST.",
    ),
] = 1.0

WRONG_COST: Annotated[
    float,
    Threshold(
        "cost of an assignment",
        "An operator of another kind costs this; an assignment with one is rejected.",
        "chosen",
        "See HELPER_COST.",
    ),
] = 100.0

MOST_OPERATORS_PER_OP: Annotated[
    int,
    Threshold(
        "operators",
        "An op becomes at most this many operators of a delegate.",
        "chosen",
        "Not measured.",
    ),
] = 6

ASSIGNMENT_SLACK: Annotated[
    int,
    Threshold(
        "operators",
        "The assignment of ops may run ahead of or behind their number by this many operators.",
        "chosen",
        "Bounds the time of the assignment.",
    ),
] = 40

LEAST_PEERS: Annotated[
    Mapping[str, int],
    Threshold(
        "ops",
        "An expected time needs this many similar ops.",
        "chosen",
        "The less similar the ops, the more of them.",
    ),
] = {"kind": 3, "family": 3, "model": 4}

SLOWER_FACTORS: Annotated[
    Mapping[str, tuple[float, float]],
    Threshold(
        "time of an op / expected time",
        "A straggler is slower by a factor between these two; the spread of the peers decides.",
        "chosen",
        "The less similar the ops, the larger the factor.",
    ),
] = {"kind": (3.0, 9.0), "family": (5.0, 10.0), "model": (8.0, 16.0)}

SLOWER_SPREADS: Annotated[
    float,
    Threshold(
        "median absolute deviations",
        "A straggler is slower than its peers by at least this spread.",
        "derived",
        "1.4826 MAD estimate a standard deviation; four of them are chance once in 30,000 ops.",
    ),
] = 4 * 1.4826

FIT_ROUNDS: Annotated[
    int,
    Threshold(
        "rounds",
        "The fit of the peers' times ends after this many rounds.",
        "chosen",
        "Bounds the time of the fit.",
    ),
] = 25

CLEAR_TICKS: Annotated[
    int,
    Threshold(
        "ticks of the clock",
        "Shorter times are too coarse to fit peers with.",
        "chosen",
        "Not measured.",
    ),
] = 3

FIT_AS_WELL: Annotated[
    float,
    Threshold(
        "logarithm of time",
        "Fits whose spread is within this of the best one explain the peers as well.",
        "chosen",
        "Not measured.",
    ),
] = 0.10

HEAVY_OP_WEIGHT: Annotated[
    float,
    Threshold(
        "operations per value",
        "A table or an exponential per value costs this many additions.",
        "chosen",
        "Not measured.",
    ),
] = 8.0

WARM_UP_RUNS: Annotated[
    int,
    Threshold(
        "runs",
        "This many runs come before the measured ones.",
        "chosen",
        "Not measured.",
    ),
] = 3

LEAST_RUNS: Annotated[
    int,
    Threshold(
        "runs",
        "A profile has at least this many runs.",
        "chosen",
        "Not measured.",
    ),
] = 20

MOST_RUNS: Annotated[
    int,
    Threshold(
        "runs",
        "A profile has at most this many runs.",
        "chosen",
        "Bounds the time of a profile.",
    ),
] = 200

PROFILE_SECONDS: Annotated[
    float,
    Threshold(
        "seconds",
        "A profile ends after this time, if it has enough runs.",
        "chosen",
        "Bounds the time of a profile.",
    ),
] = 3.0

CUT_LEAST_RUNS: Annotated[
    int,
    Threshold(
        "runs",
        "An op that is timed by cutting the model runs at least this many times.",
        "chosen",
        "Not measured.",
    ),
] = 7

CUT_MOST_RUNS: Annotated[
    int,
    Threshold(
        "runs",
        "An op that is timed by cutting the model runs at most this many times.",
        "chosen",
        "Bounds the time of a profile.",
    ),
] = 60

CUT_SECONDS: Annotated[
    float,
    Threshold(
        "seconds",
        "An op that is timed by cutting the model runs at least this long.",
        "chosen",
        "Bounds the time of a profile.",
    ),
] = 0.01

MATERIAL_SHARE: Annotated[
    float,
    Threshold(
        "share of the inference",
        "A cause costs at least this.",
        "chosen",
        "A cause that costs less is not worth a change of the model.",
    ),
] = 0.10

MATERIAL_TICKS: Annotated[
    int,
    Threshold(
        "ticks of the clock",
        "A cause costs at least this, so that it is not a rounding of the clock.",
        "chosen",
        "Not measured.",
    ),
] = 20

WEAK_SHARE: Annotated[
    float,
    Threshold(
        "share of the inference",
        "If kernels that are known to be slow take more than this, their peers are slow too and show nothing.",
        "chosen",
        "Not measured.",
    ),
] = 0.30

STRAGGLER_CONFIDENCE: Annotated[
    Mapping[str, float],
    Threshold(
        "share of causes that are right",
        "Confidence of a straggler, by the similarity of its peers.",
        "chosen",
        "Not measured.",
    ),
] = {"kind": 0.9, "family": 0.75, "model": 0.6}

OTHER_KERNELS_WORTH: Annotated[
    float,
    Threshold(
        "time on other kernels / time",
        "Other kernels are a fix if they take at most this share of the time.",
        "chosen",
        "Not measured.",
    ),
] = 0.5

LOG_TICK_MS: Annotated[
    float,
    Threshold(
        "milliseconds",
        "Times in logs have this resolution.",
        "derived",
        "The benchmark tools print three digits of a millisecond.",
    ),
] = 1e-3

STRAGGLER_CLEARER: Annotated[
    float,
    Threshold(
        "added to the share of causes that are right",
        "A straggler that is far above its limit is surer by up to this.",
        "chosen",
        "The sum with STRAGGLER_CONFIDENCE stays below 1.",
    ),
] = 0.09

FIT_LEAST_MISS: Annotated[
    float,
    Threshold(
        "relative difference of a time",
        "Peers that fit better than this have one weight in the fit of expected times.",
        "chosen",
        "Keeps the weights finite; times vary by more.",
    ),
] = 1e-3
