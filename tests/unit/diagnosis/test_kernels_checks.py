"""Checks on outputs that were taken anywhere: NaN, zeros, and an accelerator that did not run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from windtunnel.diagnosis.kernels import agree_within, fallback_cause, output_causes
from windtunnel.errors import InvalidInput

CPU = [{"logits": np.random.default_rng(seed).normal(size=(1, 64)).astype(np.float32)} for seed in range(3)]


def changed(change: Any) -> list[dict[str, Any]]:
    return [{"logits": change(one["logits"].copy())} for one in CPU]


def test_non_finite_values_are_a_kernel_cause_with_their_number() -> None:
    def poison(values: Any) -> Any:
        values[0, :2] = np.nan, np.inf
        return values

    (cause,) = output_causes(CPU, changed(poison), "gpu")
    assert cause.code == "kernel"
    assert cause.evidence["non_finite"] == 6 and cause.evidence["kernel"] == "gpu"


def test_non_finite_values_of_both_sides_are_no_kernel_fault() -> None:
    masked = [{"logits": np.where(np.arange(64) < 9, -np.inf, one["logits"])} for one in CPU]
    assert output_causes(masked, masked, "gpu") == []


def test_all_zero_outputs_are_a_kernel_cause_unless_the_cpu_gives_zeros_too() -> None:
    zeros = changed(np.zeros_like)
    (cause,) = output_causes(CPU, zeros, "gpu")
    assert cause.evidence["all_zero"] is True and cause.evidence["cpu_max_abs"] > 1.0
    assert output_causes(zeros, zeros, "gpu") == []
    assert output_causes(CPU, [*zeros[:2], CPU[2]], "gpu") == [], "one sample is not zero"


def test_the_cpus_very_bits_are_a_fallback_where_less_precision_is_promised() -> None:
    same = changed(lambda values: values)
    for promised in ("float16", "bfloat16", "int8"):
        cause = fallback_cause(CPU, same, "gpu", promised)
        assert cause is not None and cause.code == "latency.fallback"
        assert cause.evidence["bit_equal_values"] == 192
    assert fallback_cause(CPU, same, "xnnpack", "float32") is None


def test_an_accelerator_that_ran_is_no_fallback() -> None:
    half = changed(lambda values: values.astype(np.float16).astype(np.float32))
    assert fallback_cause(CPU, half, "gpu", "float16") is None
    one_bit = changed(lambda values: values)
    one_bit[2]["logits"][0, 5] = np.nextafter(one_bit[2]["logits"][0, 5], np.float32(9))
    assert fallback_cause(CPU, one_bit, "gpu", "float16") is None


def test_outputs_that_low_precision_holds_exactly_tell_nothing() -> None:
    for values in (np.ones((1, 64), np.float32), np.arange(64, dtype=np.int64)[None]):
        outputs = [{"classes": values}]
        assert fallback_cause(outputs, outputs, "gpu", "float16") is None


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(InvalidInput, match="samples"):
        output_causes(CPU, CPU[:2], "gpu")
    with pytest.raises(InvalidInput, match="other"):
        output_causes(CPU, [{"other": one["logits"]} for one in CPU], "gpu")
    with pytest.raises(InvalidInput, match="shapes"):
        output_causes(CPU, changed(lambda values: values[:, :5]), "gpu")
    with pytest.raises(InvalidInput, match="fp4"):
        fallback_cause(CPU, CPU, "gpu", "fp4")


def test_agree_within_is_a_bound_on_nrmse_and_refuses_nan() -> None:
    agree = agree_within(0.01)
    reference = {"y": np.linspace(0.0, 1.0, 100)}
    assert agree(reference, {"y": reference["y"] + 0.009})
    assert not agree(reference, {"y": reference["y"] + 0.011})
    assert not agree(reference, {"y": np.full(100, np.nan)})
    with pytest.raises(InvalidInput):
        agree_within(0.0)
