"""The JSON documents of the offline commands: one measurement, conversion or variant."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windtunnel.cell_warnings import SHAPE_UNKNOWN, fallback_words, unstable_words, zeroed_words
from windtunnel.log_parser import measure as figures_of
from windtunnel.log_parser import parse_log
from windtunnel.tflite import ModelFacts, TensorFacts, precision

if TYPE_CHECKING:
    from windtunnel.converter.domain.conversion import Converted
    from windtunnel.diagnosis.quantize.variants import Quantized
    from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun


def bench_document(run: DeviceRun, model: str, accelerator: str, threads: int) -> dict[str, Any]:
    """The document `windtunnel.bench/1`: latency in ms from the raw samples, the rest from the log.

    Args:
        run: what benchmark_model wrote.
        model: the file as the user named it.
        accelerator: the one that was asked for.
        threads: of the CPU.

    Returns:
        The document.
    """
    log = parse_log(run.log)
    samples = run.samples
    found = figures_of(log.runs[0] if log.runs else None, None if samples is None else samples.inference)
    raw = None if samples is None else {"warmup": list(samples.warmup), "inference": list(samples.inference)}
    conditions = run.conditions
    return {
        "schema": "windtunnel.bench/1",
        "model": model,
        "accelerator": accelerator,
        "threads": threads,
        "latency_ms": asdict(found.latency_ms),
        "init_ms": found.init_ms,
        "memory_mb": found.memory_mb,
        "input_shapes": {name: list(shape) for name, shape in run.input_shapes.items()},
        "shapes_known": run.shapes_known,
        "nodes_delegated": run.facts.nodes_delegated,
        "nodes_total": run.facts.nodes_total,
        "unstable": None if conditions is None else conditions.unstable,
        "conditions": None if conditions is None else asdict(conditions),
        "warnings": _warnings(run, accelerator),
        "device": asdict(run.facts),
        "samples_us": raw,
    }


def _warnings(run: DeviceRun, accelerator: str) -> list[str]:
    """Conditions that limit what the figures mean."""
    facts, conditions = run.facts, run.conditions
    found = [fallback_words(accelerator, None, facts.nodes_delegated, facts.nodes_total)]
    if run.shapes_known is False:
        found.append(f"{SHAPE_UNKNOWN} (give --shape or --samples)")
    if conditions is not None and conditions.unstable:
        found.append(unstable_words(conditions.reason))
    if run.zeroed_inputs:
        found.append(zeroed_words(run.zeroed_inputs))
    return [text for text in found if text]


def conversion_document(done: Converted, out: Path) -> dict[str, Any]:
    """The document `windtunnel.conversion/1`.

    Args:
        done: the conversion and its check.
        out: the file that was written.

    Returns:
        The document.
    """
    check = check_document(done)
    shapes = check.pop("input_shapes")
    return {
        "schema": "windtunnel.conversion/1",
        **_file(out),
        **_facts(done.facts),
        # By tensor name; empty if neither samples nor a plan give the size of dynamic dimensions.
        "input_shapes": shapes,
        "check": check,
        "tool_versions": dict(done.tool_versions),
        "seconds": done.seconds,
    }


def check_document(done: Converted) -> dict[str, Any]:
    """The check of a conversion. A figure that is not finite is null, as JSON requires; `message` names it.

    Args:
        done: the conversion and its check.

    Returns:
        The object `check` of documents.
    """
    check = asdict(done.check)
    before, after = check.pop("elements")
    del check["spreads"]
    check["element_accuracy"] = {"original": before, "converted": after}
    check["findings"] = [one.to_json() for one in done.check.findings]
    check["input_shapes"] = {name: list(shape) for name, shape in check["input_shapes"].items()}
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in check.items()}


def quantized_document(done: Quantized, variant: str, out: Path) -> dict[str, Any]:
    """The document `windtunnel.variant/1`.

    Args:
        done: the quantized model.
        variant: name of the variant.
        out: the file that was written.

    Returns:
        The document.
    """
    return {
        "schema": "windtunnel.variant/1",
        "variant": variant,
        **_file(out),
        **_facts(done.facts),
        "calibration_samples": done.calibration_samples,
        "seconds": done.seconds,
        "left_float": [asdict(one) for one in done.left_float],
    }


def _file(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"path": str(path), "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def _facts(facts: ModelFacts) -> dict[str, Any]:
    def tensors(found: Any, name_of: Callable[[TensorFacts], str | None]) -> list[dict[str, Any]]:
        return [
            {
                "name": one.name,
                "signature_name": name_of(one),
                "shape": list(one.shape_signature),
                "dtype": one.dtype,
            }
            for one in found
        ]

    return {
        "inputs": tensors(facts.inputs, facts.input_name),
        "outputs": tensors(facts.outputs, facts.output_name),
        "ops": [op.name for op in facts.ops],
        "precision": precision(facts),
    }
