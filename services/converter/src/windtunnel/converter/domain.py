"""What the converter converts, and what it says about the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from windtunnel.datacheck.findings import Finding
from windtunnel.formats import Format as Format
from windtunnel.tflite import ModelFacts, Scores

# The converted model may differ from the original by float rounding, not by more.
MAX_OUTPUT_NRMSE = 0.01
MIN_AGREEMENT = 0.99


@dataclass(frozen=True, slots=True)
class Source:
    """A trained model on disk. `inputs` and `outputs` name tensors where the file does not say.

    `allow_code`: whether a Keras model may bring layers that are code.
    """

    path: Path
    format: Format
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    allow_code: bool = False


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the original; -1 and None stand for a dynamic dimension."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What conversion left: the .tflite, and the original's outputs on the samples, one .npy file for each."""

    model: Path
    outputs: Mapping[str, Path]
    # Wall time of the conversion alone, in seconds.
    seconds: float


@dataclass(frozen=True, slots=True)
class Check:
    """The converted model against the original on the same samples.

    `output_nrmse` is sqrt(MSE) over the range of both, the worst of all outputs; None where the original cannot be
    run apart from the conversion. `elements`: the share of right elements of masks, of the original and of the
    converted model. `input_shapes`: those in which samples reach the model, by tensor name; empty: not
    known.
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
    nrmse: float | None,
    *,
    labelled: bool,
    non_finite: Mapping[str, int] | None = None,
    unmatched: str = "",
) -> tuple[bool, str]:
    """Whether the conversion kept the model, and what is wrong otherwise.

    `non_finite` counts the NaN and infinite values of each output of the converted model; `unmatched` says which
    outputs have no counterpart.
    """
    bad = {name: count for name, count in (non_finite or {}).items() if count}
    if bad:
        named = ", ".join(f"{name!r} ({count} values)" for name, count in bad.items())
        return False, f"the converted model's output holds NaN or infinity: {named}"
    if unmatched or nrmse is None:
        what = "the outputs of the converted model could not be matched with those of the original"
        return False, f"{what}: {unmatched}" if unmatched else what
    if nrmse > MAX_OUTPUT_NRMSE:
        return (
            False,
            f"the converted model's output differs from the original's: nrMSE {nrmse:.4g} > {MAX_OUTPUT_NRMSE}",
        )
    if labelled and agreement is not None and agreement < MIN_AGREEMENT:
        return False, f"the converted model chooses another class on {1 - agreement:.1%} of the samples"
    return True, ""
