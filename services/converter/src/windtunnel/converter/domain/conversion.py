"""What the converter converts, and what it says about the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from windtunnel.datacheck.classifier_scores import Scores
from windtunnel.datacheck.findings import Finding
from windtunnel.formats import Format as Format
from windtunnel.tasks.task_sums import TaskFigures
from windtunnel.tflite import ModelFacts

# The converted model may differ from the original by float rounding, not by more.
MAX_OUTPUT_NRMSE = 0.01
MIN_AGREEMENT = 0.99


@dataclass(frozen=True, slots=True)
class Source:
    """A trained model on disk. `inputs` and `outputs` name tensors where the file does not say.

    `allow_code`: whether a Keras model may bring layers that are code. `select_tf_ops`: whether ops that TensorFlow
    Lite lacks become Select TF ops. `given`: what the user called the model; empty: as `path`.
    """

    path: Path
    format: Format
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    allow_code: bool = False
    select_tf_ops: bool = False
    given: str = ""

    @property
    def name(self) -> str:
        """What messages call the model."""
        return self.given or self.path.name


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the original; -1 and None stand for a dynamic dimension."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class FirstNorm:
    """A .tflite up to the input of a model's first batch norm, and the mean and variance that it keeps per channel."""

    model: Path
    mean: tuple[float, ...]
    variance: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Exported:
    """What conversion left: the .tflite, and the original's outputs on the samples, one .npy file for each.

    `norm`: only for samples without labels, and a model with a batch norm.
    """

    model: Path
    outputs: Mapping[str, Path]
    # Wall time of the conversion alone, in seconds.
    seconds: float
    findings: tuple[Finding, ...] = ()
    norm: FirstNorm | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """The converted model against the original on the same samples.

    `output_nrmse` is sqrt(MSE) over the range of both, the worst of all outputs; None where the original cannot be
    run apart from the conversion. `elements`: the share of right elements of masks, of the original and of the
    converted model; `spreads`: how much it differs from sample to sample, of both. `tasks`: how well both do their
    task. `input_shapes`: those in which
    samples reach the model, by tensor name; empty: not known.
    """

    original: Scores | None
    converted: Scores | None
    agreement: float | None
    output_nrmse: float | None
    samples: int
    synthetic: bool
    passed: bool
    message: str
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    elements: tuple[float | None, float | None] = (None, None)
    spreads: tuple[float | None, float | None] = (None, None)
    tasks: tuple[TaskFigures | None, TaskFigures | None] = (None, None)


@dataclass(frozen=True, slots=True)
class Converted:
    """A finished conversion."""

    model: Path
    facts: ModelFacts
    check: Check
    tool_versions: Mapping[str, str]
    seconds: float


def judge(
    agreement: float | None,
    errors: Mapping[str, float],
    *,
    labelled: bool,
    non_finite: Mapping[str, int] | None = None,
    unmatched: str = "",
    exchanged: Mapping[str, str] | None = None,
) -> tuple[bool, str]:
    """Whether the conversion kept the model, and what is wrong otherwise.

    Args:
        agreement: share of samples on which both models choose the same class; None: not a classifier.
        errors: nRMSE of each output of the converted model; empty: not known.
        labelled: whether the samples have labels.
        non_finite: counts of NaN and infinite values of each output of the converted model.
        unmatched: which outputs have no counterpart.
        exchanged: outputs of the converted model whose values are those of another output of the original.
    """
    bad = {name: count for name, count in (non_finite or {}).items() if count}
    if bad:
        named = ", ".join(f"{name!r} ({count} values)" for name, count in bad.items())
        return False, f"the converted model's output holds NaN or infinity: {named}"
    if unmatched or not errors:
        what = "the outputs of the converted model could not be matched with those of the original"
        return False, f"{what}: {unmatched}" if unmatched else what
    worst = max(errors, key=lambda name: errors[name])
    if errors[worst] > MAX_OUTPUT_NRMSE:
        which = f" {worst!r}" if len(errors) > 1 else ""
        return (
            False,
            f"the converted model's output{which} differs from the original's: "
            f"nRMSE {errors[worst]:.4g} > {MAX_OUTPUT_NRMSE}",
        )
    if exchanged:
        named = ", ".join(
            f"{converted!r} holds what the original calls {original!r}" for converted, original in exchanged.items()
        )
        return False, f"the names of outputs are exchanged: {named}"
    if labelled and agreement is not None and agreement < MIN_AGREEMENT:
        return False, f"the converted model chooses another class on {1 - agreement:.1%} of the samples"
    return True, ""
