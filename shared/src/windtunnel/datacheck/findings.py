"""What was noticed about samples, labels, preprocessing or outputs, and that the user should know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

# Codes, as docs/findings.md describes them.
INPUT_INTEGER_CAST: Final = "input.integer_cast"
INPUT_RANGE: Final = "input.range"
INPUT_CHANNEL_ORDER: Final = "input.channel_order"
ACCURACY_CHANCE: Final = "accuracy.chance"
ACCURACY_UNGUARDED: Final = "accuracy.unguarded"
ACCURACY_UNKNOWN: Final = "accuracy.unknown"
LABELS_ONE_HOT: Final = "labels.one_hot"
LABELS_SOFT: Final = "labels.soft"
LABELS_SEVERAL: Final = "labels.several"
LABELS_IGNORED: Final = "labels.ignored"
LABELS_TARGETS: Final = "labels.targets"
LABELS_OUTPUTS: Final = "labels.outputs"
LABELS_CLASSES: Final = "labels.classes"
LABELS_UNUSED: Final = "labels.unused"
LABELS_AMBIGUOUS: Final = "labels.ambiguous"
LABELS_SHIFTED: Final = "labels.shifted"
LABELS_PERMUTED: Final = "labels.permuted"
LABELS_BOXES: Final = "labels.boxes"
OUTPUT_NON_FINITE: Final = "output.non_finite"
INPUTS_EXCHANGE_UNTRIED: Final = "inputs.exchange_untried"
OUTPUTS_RENAMED: Final = "outputs.renamed"
DIFFERENCE_WITHOUT_EFFECT: Final = "difference.without_effect"
CONVERSION_RANDOM: Final = "conversion.random"
CONVERSION_INFERENCE_MODE: Final = "conversion.inference_mode"
CONVERSION_META_GRAPH: Final = "conversion.meta_graph"
CONVERSION_SIGNATURE: Final = "conversion.signature"
CONVERSION_SELECT_TF_OPS: Final = "conversion.select_tf_ops"
CONVERSION_KERAS2: Final = "conversion.keras2"
CONVERSION_QUANTIZED: Final = "conversion.quantized"
CONVERSION_OUTPUT_ORDER: Final = "conversion.output_order"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was noticed. It changes no verdict by itself.

    `code` is stable, for example "input.range", "accuracy.chance", "labels.unused". `message` says what was found,
    with the values; `fix` what to do about it, empty if there is nothing to do; `evidence` has the figures behind
    it as JSON values.
    """

    code: str
    message: str
    fix: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def suggests_pipeline(self) -> bool:
        """Whether `evidence` has a pipeline that fits the samples."""
        return "pipeline" in self.evidence

    def to_json(self) -> dict[str, Any]:
        """The entry of `findings` in a report or diagnosis."""
        return {"code": self.code, "message": self.message, "fix": self.fix or None, "evidence": dict(self.evidence)}


def distinct(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Removes repeated findings: what holds for every variant is reported once.

    Args:
        findings: of all variants.

    Returns:
        Each once, in their order.
    """
    return tuple({(one.code, one.message): one for one in findings}.values())
