"""Judgments on the outputs of kernels and accelerators; they take arrays, wherever those came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.kinds.kernels import AcceleratorDidNotRun, OutputAllZero, OutputNonFinite
from windtunnel.diagnosis.kernels.first_op_search import Agree, Outputs
from windtunnel.diagnosis.kernels.result_distance import DistanceSums
from windtunnel.diagnosis.thresholds.confidences import OUTPUT_BITS_EQUAL, OUTPUT_NOT_AS_ON_CPU
from windtunnel.diagnosis.thresholds.kernel_thresholds import FEWEST_TELLING_VALUES
from windtunnel.errors import InvalidInput

Arrays = Mapping[str, NDArray[Any]]

# What an accelerator is expected to leave of float32: relative step of its numbers. float32 itself promises nothing.
PRECISIONS: Final[Mapping[str, float]] = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "int8": 2.0**-8}


def agree_within(nrmse: float) -> Agree:
    """An `Agree` for `bisect`: every output within an nRMSE, and NaN and infinity in the same places.

    nRMSE = sqrt(MSE) / max(range of both) (ML-EXray, MLSys 2022).

    Args:
        nrmse: the limit, without unit.

    Returns:
        The function.

    Raises:
        InvalidInput: the limit is not positive.
    """
    if not nrmse > 0.0:
        raise InvalidInput(f"the limit {nrmse} is not positive")

    def agree(reference: Outputs, candidate: Outputs) -> bool:
        found = []
        for name, wanted in reference.items():
            sums = DistanceSums()
            sums.add(wanted, candidate[name])
            found.append(sums.distance(integer=wanted.dtype.kind in "iub").nrmse)
        return all(one is not None and one <= nrmse for one in found)

    return agree


def output_causes(cpu: Sequence[Arrays], accelerated: Sequence[Arrays], where: str) -> list[Cause]:
    """Causes `kernel` that the outputs alone show: NaN or infinity, and zeros, if the CPU has neither.

    Args:
        cpu: outputs by name, sample by sample, of kernels that are trusted.
        accelerated: the same of the kernels in question, in the same order and shapes.
        where: the name of those kernels, for the evidence.

    Returns:
        Empty: the outputs show none.

    Raises:
        InvalidInput: samples, names or shapes differ.
    """
    _require_alike(cpu, accelerated)
    causes = []
    for name in cpu[0]:
        trusted, found = ([one[name] for one in side] for side in (cpu, accelerated))
        bad = sum(int(np.count_nonzero(_broken(b) & ~_broken(a))) for a, b in zip(trusted, found, strict=True))
        if bad:
            total = sum(one.size for one in found)
            finding = OutputNonFinite(output=name, kernel=where, non_finite=bad, values=total)
            causes.append(_cause(finding))
        elif any(np.any(one) for one in trusted) and not any(np.any(one) for one in found):
            largest = max(float(np.abs(one.astype(np.float64)).max()) for one in trusted)
            causes.append(_cause(OutputAllZero(output=name, kernel=where, cpu_max_abs=largest)))
    return causes


def fallback_cause(cpu: Sequence[Arrays], accelerated: Sequence[Arrays], where: str, promised: str) -> Cause | None:
    """The cause `latency.fallback` if an accelerator that computes in lower precision gives exactly the CPU's bits.

    Args:
        cpu: outputs by name, sample by sample, of a float model.
        accelerated: the same on the accelerator.
        where: the accelerator's name, for the evidence.
        promised: the precision that it computes in: float32, float16, bfloat16 or int8.

    Returns:
        None if the outputs differ. Also None if they decide nothing: float32 is promised, or the outputs are integers,
        constant, or numbers that the promised precision represents exactly (an argmax, a mask).

    Raises:
        InvalidInput: the precision is another one, or samples differ in names or shapes.
    """
    if promised not in PRECISIONS and promised != "float32":
        known = ", ".join(("float32", *PRECISIONS))
        raise InvalidInput(f"unknown precision {promised!r}", hint=f"use {known}")
    _require_alike(cpu, accelerated)
    if promised == "float32":
        return None
    equal = telling = 0
    for trusted, found in zip(cpu, accelerated, strict=True):
        for name, wanted in trusted.items():
            if not np.array_equal(wanted, found[name], equal_nan=True):
                return None
            equal += wanted.size
            telling += _inexact_count(wanted, PRECISIONS[promised])
    if telling < FEWEST_TELLING_VALUES:
        return None
    finding = AcceleratorDidNotRun(
        accelerator=where,
        promised=promised,
        bit_equal_values=equal,
        values_that_would_differ=telling,
        samples=len(cpu),
    )
    return Cause(finding, OUTPUT_BITS_EQUAL, rule="outputs_equal_cpu_bits")


def _inexact_count(values: NDArray[Any], step: float) -> int:
    """How many values a number format of that relative step cannot hold."""
    if values.dtype.kind != "f":
        return 0
    mantissa, _ = np.frexp(values.astype(np.float64)[np.isfinite(values)])
    scaled = mantissa / step
    return int(np.count_nonzero(scaled != np.rint(scaled)))


def _broken(values: NDArray[Any]) -> NDArray[np.bool_]:
    finite: NDArray[np.bool_] = np.isfinite(values) if values.dtype.kind in "fc" else np.ones(values.shape, bool)
    return ~finite


def _cause(finding: OutputNonFinite | OutputAllZero) -> Cause:
    return Cause(finding, OUTPUT_NOT_AS_ON_CPU, rule="outputs_differ_from_cpu")


def _require_alike(cpu: Sequence[Arrays], accelerated: Sequence[Arrays]) -> None:
    if not cpu or len(cpu) != len(accelerated):
        raise InvalidInput(
            f"{len(cpu)} samples of the CPU and {len(accelerated)} of the accelerator cannot be compared"
        )
    for number, (first, second) in enumerate(zip(cpu, accelerated, strict=True)):
        if not first or first.keys() != second.keys():
            raise InvalidInput(f"sample {number}: outputs {sorted(first)} and {sorted(second)} are not the same")
        for name in first:
            if first[name].shape != second[name].shape:
                shapes = f"{list(first[name].shape)} and {list(second[name].shape)}"
                raise InvalidInput(f"sample {number}: output {name!r} has the shapes {shapes}")
