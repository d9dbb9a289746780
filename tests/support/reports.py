"""Made-up documents in the public formats, for tests that show them."""

from __future__ import annotations

from typing import Any

import numpy as np

VARIANTS = ("float32", "float16", "dynamic_range", "int8", "int16x8", "int8_per_tensor")
_DRIFT = (0.0, 2e-5, 0.012, 0.035, 0.0021, 0.09)


def diagnosis(
    *, layers: int = 28, level: float = 0.02, verdict: str = "healthy", causes: int = 0, seed: int = 0
) -> dict[str, Any]:
    """A `windtunnel.diagnosis/1` whose layers differ by about `level`, growing toward the end."""
    draw = np.random.default_rng(seed)
    names = [f"block_{number // 4}/conv_{number % 4}/Conv2D;bias" for number in range(layers)]
    values = [float(level * (0.3 + number / layers) * draw.uniform(0.6, 1.5)) for number in range(layers)]
    over = next(({"layer": name, "op_index": i} for i, name in enumerate(names) if values[i] > 0.10), None)
    return {
        "schema": "windtunnel.diagnosis/1",
        "verdict": verdict,
        "reasons": [] if verdict == "healthy" else [f"top-1 falls by {level:.3f}"],
        "causes": [cause(number, names) for number in range(causes)],
        "excluded": [{"code": "conversion.weights", "why": "all constants agree within their precision"}],
        "coverage": {
            "compared": layers,
            "total": layers + 1,
            "unmatched": ["head/reshape"],
            "unmatched_layers": [
                {"name": "head/reshape", "op": "RESHAPE", "op_index": layers, "reason": "no counterpart"}
            ],
        },
        "layers": [layer(name, index, value) for index, (name, value) in enumerate(zip(names, values, strict=True))],
        "threshold": 0.10,
        "max_nrmse": max(values),
        "first_over": over,
        "samples": 397,
        "accuracy": {
            "reference": {"top1": 0.9798, "precision": 0.98, "recall": 0.98, "loss": 0.071},
            "candidate": {"top1": 0.9798 - level / 3, "precision": 0.97, "recall": 0.97, "loss": 0.071 + level},
            "drop": level / 3,
        },
        "agreement": 1 - level / 2,
        "output_nrmse": level / 2,
    }


def layer(name: str, index: int, value: float | None, problem: str | None = None) -> dict[str, Any]:
    """An entry of `layers`."""
    return {
        "name": name,
        "op": "CONV_2D" if index % 2 else "DEPTHWISE_CONV_2D",
        "op_index": index,
        "reference": name,
        "nrmse": value,
        "local_nrmse": None,
        "max_abs": None if value is None else value * 4,
        "problem": problem,
    }


def cause(number: int, names: list[str]) -> dict[str, Any]:
    """An entry of `causes`."""
    return {
        "code": ("quantization.per_tensor", "kernel", "quantization.accumulated")[number % 3],
        "place": {"layer": names[5 + number], "op_index": 5 + number},
        "confidence": 0.97 - number / 10,
        "evidence": {"channel_ranges": {"smallest": 0.003, "largest": 41.2}, "tensor": names[5 + number]},
        "fix": {"action": "quantize the weights per channel", "tensor": names[5 + number]},
        "verified": number == 0,
    }


def cell(p50: float | None, *, status: str = "measured", reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """An entry of `cells`."""
    latency = dict.fromkeys(("p50", "p95", "mean", "min", "max", "std", "samples"))
    if p50 is not None:
        latency = {
            "p50": p50,
            "p95": p50 * 1.3,
            "mean": p50 * 1.04,
            "min": p50 * 0.93,
            "max": p50 * 2.1,
            "std": p50 * 0.1,
            "samples": 214,
        }
    place = {"farm": "local", "device": "host", "platform": "host", "os_version": "12", "accelerator": "xnnpack"}
    rest = {"threads": 1, "status": status, "latency_ms": latency, "attempts": 1, "reason": reason}
    figures: dict[str, Any] = (
        {"init_ms": None, "memory_mb": None} if p50 is None else {"init_ms": 3.2, "memory_mb": 11.84}
    )
    if p50 is not None:
        figures["device_facts"] = {"name": "host", "cpu": "AMD EPYC", "cores": 2, "nodes_total": 65}
    return place | rest | figures | fields


def gate(name: str, limit: float, measured: float | None) -> dict[str, Any]:
    """An entry of `gates`."""
    return {
        "gate": name,
        "limit": limit,
        "measured": measured,
        "passed": None if measured is None else measured <= limit,
        "place": None,
    }


def compared_gate(why: str | None = None) -> dict[str, Any]:
    """An entry of `gates` that compares with an earlier run, and fails."""
    compared = {"baseline": "run-7", "interval": [1.08, 1.22], "noise": 0.08, "why": why}
    return gate("latency_vs", 1.05, 1.15) | compared


def variant(number: int, *, layers: int = 28) -> dict[str, Any]:
    """An entry of `variants`: the sixth one is over its gates."""
    level, size, p50 = _DRIFT[number], int(13_990_000 / (1, 2, 3.8, 3.9, 3.8, 3.9)[number]), 9.7 / (1 + number)
    bad = level > 0.05
    found = diagnosis(
        layers=layers, level=level, verdict="degraded" if bad else "healthy", causes=2 if bad else 0, seed=number
    )
    accuracy = found["accuracy"]["candidate"]["top1"]
    return {
        "name": VARIANTS[number],
        "sha256": f"{number:064x}",
        "size_bytes": size,
        "accuracy": accuracy,
        "accuracy_drop": found["accuracy"]["drop"],
        "loss": found["accuracy"]["candidate"]["loss"],
        "layers": {
            "compared": layers,
            "total": layers + 1,
            "max_nrmse": found["max_nrmse"],
            "first_over": (found["first_over"] or {}).get("layer"),
        },
        "diagnosis": found,
        "tool_versions": {"litert-quantizer": "0.11.0"},
        "calibration_from_samples": number >= 3,
        "cells": [cell(p50), cell(p50 * 0.62, threads=4)],
        "gates": [
            gate("accuracy_drop", 0.01, found["accuracy"]["drop"]),
            gate("latency_ms_p50", 8, p50),
            gate("size_mb", 5, size / 1e6),
            gate("memory_mb", 200, 11.84),
            gate("layer_nrmse", 0.10, found["max_nrmse"]),
        ],
    }


def report(variants: int = 6, *, layers: int = 28, verdict: str = "failed") -> dict[str, Any]:
    """A `windtunnel.report/1`."""
    return {
        "schema": "windtunnel.report/1",
        "run_id": "r-7f0c19ab",
        "model": {"name": "ssd-mobilenet", "version": "2026-11-20.3", "sha256": "9f" * 32},
        "verdict": verdict,
        "reasons": [
            "int8_per_tensor: accuracy_drop 0.0300 is over 0.01: quantization.per_tensor at block_1/conv_1",
            "float32: size_mb 13.99 is over 5",
        ],
        "started_at": "2026-11-20T12:00:03Z",
        "ended_at": "2026-11-20T12:01:44.5Z",
        "variants": [variant(number, layers=layers) for number in range(variants)],
        "revision": 1,
        "labels": {"team": "edge"},
        "plan_sha256": "ab" * 32,
        "conversion": {
            "original": {"top1": 0.9798, "precision": 0.98, "recall": 0.98, "loss": 0.071, "samples": 397},
            "converted": {"top1": 0.9798, "precision": 0.98, "recall": 0.98, "loss": 0.071, "samples": 397},
            "agreement": 1.0,
            "output_nrmse": 1.2e-7,
            "synthetic_samples": False,
            "passed": True,
            "message": None,
            "tool_versions": {"tensorflow-cpu": "2.21.0"},
        },
    }


def could_not_run() -> dict[str, Any]:
    """A report of a run that got nowhere: unknown figures, failed and skipped cells, no comparison."""
    found = report(2, verdict="could_not_run")
    found["reasons"] = ["int8 was not compared: the worker ran out of memory", "local/host gpu was skipped"]
    found["conversion"] = {"passed": None, "message": None, "agreement": None}
    found["variants"][0]["diagnosis"]["layers"][4] = layer("block_1/conv_0/Conv2D;bias", 4, None, "non_finite")
    found["variants"][0]["cells"] = [
        cell(None, status="failed", reason="the process ended by signal 6 (SIGABRT)", attempts=3),
        cell(None, status="skipped", reason="the local farm has cpu and xnnpack", accelerator="gpu"),
    ]
    empty = dict.fromkeys(("accuracy", "accuracy_drop", "loss", "sha256", "size_bytes", "diagnosis"))
    nothing = dict.fromkeys(("compared", "total", "max_nrmse", "first_over"))
    found["variants"][1] |= empty | {
        "name": "int8",
        "layers": nothing,
        "cells": [],
        "gates": [gate("accuracy_drop", 0.01, None), gate("size_mb", 5, None)],
    }
    return found
