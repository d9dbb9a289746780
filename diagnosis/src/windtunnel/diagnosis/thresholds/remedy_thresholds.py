"""How recipes are searched, measured and chosen (rooms `remedy` and `quantize`)."""

from __future__ import annotations

from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

SEARCH_SECONDS: Annotated[
    float,
    Threshold(
        "seconds",
        "A recipe of the search is timed for this long.",
        "chosen",
        "Long enough to distinguish what differs by a tenth.",
    ),
] = 0.2

SEARCH_TURNS: Annotated[
    int,
    Threshold(
        "turns",
        "A recipe of the search is timed in at least this many turns.",
        "chosen",
        "See SEARCH_SECONDS.",
    ),
] = 8

PROOF_SECONDS: Annotated[
    float,
    Threshold(
        "seconds",
        "The proof is timed for this long.",
        "chosen",
        "The proof is measured once.",
    ),
] = 3.0

PROOF_TURNS: Annotated[
    int,
    Threshold(
        "turns",
        "The proof is timed in at least this many turns.",
        "chosen",
        "See PROOF_SECONDS.",
    ),
] = 50

CLEARLY_SMALLER: Annotated[
    float,
    Threshold(
        "size / size of the other",
        "Another precision must be at least this much smaller.",
        "chosen",
        "docs/remedy.md.",
    ),
] = 0.98

CLEARLY_FASTER: Annotated[
    float,
    Threshold(
        "latency / latency of the other",
        "Another precision must be at least this much faster, beyond the noise.",
        "chosen",
        "docs/remedy.md.",
    ),
] = 0.90

PERCENTILE_VALUES: Annotated[
    int,
    Threshold(
        "values",
        "Of each tensor and sample this many values are kept to find percentiles.",
        "chosen",
        "Bounds the memory.",
    ),
] = 1024

TIMING_WARM_UP_RUNS: Annotated[
    int,
    Threshold(
        "runs",
        "This many runs come before the measured ones.",
        "chosen",
        "Not measured.",
    ),
] = 3

TIMING_MOST_TURNS: Annotated[
    int,
    Threshold(
        "turns",
        "Models are timed in at most this many turns.",
        "chosen",
        "Bounds the memory.",
    ),
] = 5000

MOST_SINGLE_LAYERS: Annotated[
    int,
    Threshold(
        "layers",
        "Single layers are measured one by one up to this many.",
        "chosen",
        "Bounds the time of the search (docs/remedy.md).",
    ),
] = 64

SAME_DROP: Annotated[
    float,
    Threshold(
        "drop",
        "Recipes whose drops differ by less are equal; the simpler one is taken.",
        "chosen",
        "The default gate of the drop.",
    ),
] = 0.01

SPLIT_SHARES: Annotated[
    tuple[float, float, float],
    Threshold(
        "share of samples",
        "Samples that calibrate, search, and prove.",
        "chosen",
        "docs/remedy.md.",
    ),
] = (0.2, 0.4, 0.4)

SPLIT_FEWEST: Annotated[
    tuple[int, int, int],
    Threshold(
        "samples",
        "Fewest samples of each part.",
        "chosen",
        "docs/remedy.md: at least 50 samples in all.",
    ),
] = (10, 20, 20)

SPLIT_MOST: Annotated[
    tuple[int, int, int],
    Threshold(
        "samples",
        "Most samples of each part.",
        "chosen",
        "Bounds the time (docs/remedy.md).",
    ),
] = (100, 500, 2000)

FOREIGN_WEIGHT: Annotated[
    float,
    Threshold(
        "RMS of the difference / RMS of the weight",
        "A weight that is further from every constant of the float model does not come from it.",
        "measured",
        "int4 with one scale stays below 0.3; unrelated weights of the same kind reach 1.4.",
    ),
] = 0.6

FOREIGN_FEWEST_VALUES: Annotated[
    int,
    Threshold(
        "values",
        "Smaller constants agree by chance and are not judged.",
        "chosen",
        "Not measured.",
    ),
] = 8

FOREIGN_STEPS: Annotated[
    float,
    Threshold(
        "quantization steps",
        "A channel that is further than this from the same channel of the float model does not come from it.",
        "chosen",
        "Rounding moves a value by half a step.",
    ),
] = 3.0

FOREIGN_MOST_VALUES: Annotated[
    int,
    Threshold(
        "values",
        "Of larger weights this many values are compared.",
        "chosen",
        "Bounds the time.",
    ),
] = 16_384

PERCENTILES: Annotated[
    tuple[float, float],
    Threshold(
        "percentile of the activations",
        "Recipes that clip activations are tried at these.",
        "chosen",
        "docs/remedy.md.",
    ),
] = (99.99, 99.9)

REGEX_SECONDS: Annotated[
    float,
    Threshold(
        "seconds of processor time",
        "A rule's regular expression may take this long over all names of a model.",
        "chosen",
        "A usual expression takes milliseconds.",
    ),
] = 1.0

DRAWN_SAMPLES: Annotated[
    int,
    Threshold(
        "samples",
        "Without a calibration set, this many samples from the front calibrate.",
        "chosen",
        "As many as calibrate a remedy.",
    ),
] = 100

RANKING_SAMPLES: Annotated[
    int,
    Threshold(
        "samples",
        "Layers are ranked by a comparison on this many calibration samples.",
        "chosen",
        "More samples hardly change the order of the layers.",
    ),
] = 50
