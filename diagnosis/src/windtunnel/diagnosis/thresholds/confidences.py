"""How sure each kind of cause is: the share of such causes that were right (`Cause.confidence`)."""

from __future__ import annotations

from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

BY_EVIDENCE: Annotated[
    tuple[float, float, float],
    Threshold(
        "share of causes that are right",
        "Confidence of a cause that neither the files nor a run proves; one of both; both.",
        "measured",
        "docs/diagnosis-by-others.md: 0.92 of 12, 0.92 of 354, and 0.97 of 717 first causes were right. The "
        "first value stays below its measurement, which has few cases.",
    ),
] = (0.6, 0.9, 0.97)

UNEXPLAINED: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of a layer that diverges in isolation without a reason in the files.",
        "measured",
        "docs/diagnosis-by-others.md: 0.62 of 29 were right.",
    ),
] = 0.5

ACCUMULATED: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence that rounding accumulates if nothing else is found.",
        "measured",
        "docs/diagnosis.md: 0.83 of 6 were right.",
    ),
] = 0.7

NON_FINITE: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of a cause of NaN or infinity that the files show.",
        "chosen",
        "As one proof in BY_EVIDENCE: the files show it.",
    ),
] = 0.9

BY_ELIMINATION: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of a cause that is left after the others are excluded.",
        "chosen",
        "As UNEXPLAINED.",
    ),
] = 0.5

KERNEL: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence that a kernel is at fault if the layer is right on other kernels.",
        "chosen",
        "As one proof in BY_EVIDENCE: running proves it.",
    ),
] = 0.9

PART_AT_OUTPUT: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of a scale that does not resolve a part of an output.",
        "chosen",
        "As one proof in BY_EVIDENCE: scale and range prove it.",
    ),
] = 0.9

PART_INSIDE: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of a scale that does not resolve a part inside of the model.",
        "chosen",
        "As no proof in BY_EVIDENCE: no output may need the part.",
    ),
] = 0.6

MASK: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of a mask that sets a scale.",
        "chosen",
        "As one proof in BY_EVIDENCE.",
    ),
] = 0.9

MASK_VERIFIED: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of a mask whose smaller replacement brings an output closer.",
        "chosen",
        "As both proofs in BY_EVIDENCE.",
    ),
] = 0.97

OUTPUTS_PAIRED: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of outputs or inputs that are exchanged.",
        "chosen",
        "As both proofs in BY_EVIDENCE: the values of all samples agree in the other order.",
    ),
] = 0.97
