"""The JSON documents of the offline commands: one measurement, conversion or variant."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windtunnel.cell_warnings import SHAPE_UNKNOWN, fallback_words, unstable_words, zeroed_words
from windtunnel.log_parser import measure as figures_of
from windtunnel.log_parser import parse_log
from windtunnel.tflite import ModelFacts, TensorFacts, precision

if TYPE_CHECKING:
    from windtunnel.converter.domain.conversion import Converted
    from windtunnel.diagnosis.quantize.variants import Quantized
    from windtunnel.farm_dispatcher.bench_on_farm import Measured, Target
    from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun
    from windtunnel.farm_dispatcher.domain.devices import DeviceFacts
    from windtunnel.log_parser.domain.log import Delegate


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
    facts = _with_nodes(run.facts, found.delegate)
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
        "nodes_delegated": facts.nodes_delegated,
        "nodes_total": facts.nodes_total,
        "unstable": None if conditions is None else conditions.unstable,
        "conditions": None if conditions is None else asdict(conditions),
        "warnings": _warnings(run, facts, accelerator),
        "device": asdict(facts),
        "samples_us": raw,
    }


def device_bench_document(target: Target, measured: Measured, model: str, key: str) -> dict[str, Any]:
    """The document `windtunnel.bench/1` of a measurement on a farm.

    Args:
        target: where it ran.
        measured: what became of it: a run.
        model: the file as the user named it.
        key: of the farm run.

    Returns:
        The document.
    """
    run, cell = measured.result.run, target.cell
    assert run is not None, "a failure has no document"
    document = bench_document(run, model, cell.accelerator, cell.threads)
    if not cell.farm_properties.times_count:
        document["latency_ms"] = dict.fromkeys(document["latency_ms"])
        document |= {"init_ms": None, "memory_mb": None, "samples_us": None}
        document["warnings"].append("the device is emulated: it shows that the model runs, and its times mean nothing")
    on_farm = {
        "farm": target.farm.settings.name,
        "device_name": target.device.name,
        "platform": cell.platform,
        "os_version": cell.os_version,
        "run_as": cell.run_as,
        "farm_run": measured.submitted.id,
        "url": measured.submitted.url or None,
        "key": key,
        "cost_usd": _usd(measured.cost),
        "expected_cost_usd": _usd(target.estimate),
    }
    return {**document, **on_farm}


def _usd(micros: int | None) -> float | None:
    return None if micros is None else micros / 1e6


def _with_nodes(facts: DeviceFacts, delegate: Delegate | None) -> DeviceFacts:
    """The facts with what the log says of the delegate, where the farm does not say it."""
    if facts.nodes_total is not None or delegate is None:
        return facts
    return replace(facts, nodes_delegated=delegate.nodes_delegated, nodes_total=delegate.nodes_total)


def _warnings(run: DeviceRun, facts: DeviceFacts, accelerator: str) -> list[str]:
    """Conditions that limit what the figures mean."""
    conditions = run.conditions
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
    del check["spreads"], check["tasks"]
    check["element_accuracy"] = {"original": before, "converted": after}
    check["task"] = _task_of(done)
    check["findings"] = [one.to_json() for one in done.check.findings]
    check["input_shapes"] = {name: list(shape) for name, shape in check["input_shapes"].items()}
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in check.items()}


def _task_of(done: Converted) -> dict[str, Any] | None:
    """How well the original and the converted model do their task; None: it is not known."""
    original, converted = done.check.tasks
    known = converted or original
    if known is None:
        return None
    return {
        "name": known.task,
        "metric": known.metric or None,
        "original": None if original is None else original.to_json(),
        "converted": None if converted is None else converted.to_json(),
    }


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
