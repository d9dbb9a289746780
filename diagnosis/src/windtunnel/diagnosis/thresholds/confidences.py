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

KERNELS_FUSED: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence that kernels compute something else where they may fuse ops.",
        "chosen",
        "No op is named.",
    ),
] = 0.8

OP_DIVERGES: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of an op that diverges on some kernels, with one side outnumbered by the other.",
        "chosen",
        "As one proof in BY_EVIDENCE.",
    ),
] = 0.9

OP_DIVERGES_TIED: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of an op that diverges if as many kernels agree on either side.",
        "chosen",
        "As no proof in BY_EVIDENCE.",
    ),
] = 0.6

OP_DIVERGES_VERIFIED: Annotated[
    float,
    Threshold(
        "added to the share of causes that are right",
        "An op that diverges in a model of its own as well is surer by this.",
        "chosen",
        "The sum with OP_DIVERGES stays below both proofs in BY_EVIDENCE.",
    ),
] = 0.05

OP_DIVERGES_ONE_WITNESS: Annotated[
    float,
    Threshold(
        "taken from the share of causes that are right",
        "An op that diverges from only one other kernel is less sure by this.",
        "chosen",
        "Not measured.",
    ),
] = 0.1

KERNEL_ENDS_PROCESS: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of a kernel that ends its process at a known op.",
        "chosen",
        "As both proofs in BY_EVIDENCE: the op was found by running.",
    ),
] = 0.97

KERNEL_ENDS_SOMEWHERE: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of a kernel that ends its process at an op that is not known.",
        "chosen",
        "The op is not known.",
    ),
] = 0.8

DEVICE_KERNEL: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence that a device's kernels are wrong because its results differ for the same model and input.",
        "chosen",
        "The model or the inputs of the recording may be others than the file says.",
    ),
] = 0.95

REPLAYED_INPUT: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of a difference in preprocessing whose replay reproduces what the app fed.",
        "chosen",
        "Both proofs: the explanation reproduces the input, and without the difference it does not.",
    ),
] = 0.97

PARTLY_REPLAYED_INPUT: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "The same if the explanation leaves more than rounding.",
        "chosen",
        "Something else differs too.",
    ),
] = 0.7

LABELS_RENUMBERED: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence that labels are moved, because another numbering makes the app right.",
        "chosen",
        "McNemar's test of the numbering decides first.",
    ),
] = 0.95

OUTPUT_BITS_EQUAL: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence that an accelerator did not run because its outputs have the bits of the CPU.",
        "chosen",
        "As both proofs in BY_EVIDENCE: FEWEST_TELLING_VALUES are not equal by chance.",
    ),
] = 0.97

OUTPUT_NOT_AS_ON_CPU: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence of outputs of an accelerator that are zero or not finite, and are not on the CPU.",
        "chosen",
        "As one proof in BY_EVIDENCE.",
    ),
] = 0.9

OUTSIDE_DELEGATE_TIMED: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence that ops outside of the delegate cost time if their time is known.",
        "chosen",
        "As both proofs in BY_EVIDENCE, a little less.",
    ),
] = 0.95

OUTSIDE_DELEGATE: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence that ops outside of the delegate cost time if their time is not known.",
        "chosen",
        "Not measured.",
    ),
] = 0.8

SLOW_KERNELS: Annotated[
    float,
    Threshold(
        "share of causes that are right",
        "Confidence that ops are slow because their kernels are known to be slow.",
        "chosen",
        "As one proof in BY_EVIDENCE.",
    ),
] = 0.9
