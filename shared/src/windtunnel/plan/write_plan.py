"""Writing a plan in the form of plan.yaml."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from windtunnel.plan.plan_values import API_VERSION, DeviceFilter, Gates, Plan, VariantSpec


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """The plan in the form of plan.yaml; `parse_plan` of it gives the plan again.

    Args:
        plan: the plan.

    Returns:
        An object of JSON.
    """
    result: dict[str, Any] = {"apiVersion": API_VERSION}
    if data := {k: v for k in ("samples", "calibration") if (v := getattr(plan.data, k)) is not None}:
        result["data"] = data
    if plan.data.task is not None:
        result.setdefault("data", {})["task"] = plan.data.task.to_json()
    if plan.preprocessing is not None:
        result["preprocessing"] = (
            plan.preprocessing if isinstance(plan.preprocessing, str) else dict(plan.preprocessing)
        )
    result["variants"] = [_variant_to_json(variant) for variant in plan.variants]
    result["devices"] = [_device_to_dict(device) for device in plan.devices]
    gates = _gates_to_dict(plan.gates)
    if plan.only:
        gates["only"] = {name: _gates_to_dict(only) for name, only in sorted(plan.only.items())}
    if gates:
        result["gates"] = gates
    if plan.deadline_seconds:
        result["deadline_seconds"] = plan.deadline_seconds
    if plan.expected_accuracy is not None:
        result["expected_accuracy"] = plan.expected_accuracy
    if plan.input_shapes:
        result["input_shapes"] = {name: list(shape) for name, shape in sorted(plan.input_shapes.items())}
    if plan.select_tf_ops:
        result["conversion"] = {"select_tf_ops": True}
    if plan.budget_usd is not None:
        result["budget_usd"] = plan.budget_usd
    if plan.reuse_seconds:
        result["reuse"] = f"{plan.reuse_seconds}s"
    return result


def plan_to_json(plan: Plan) -> bytes:
    """The plan as canonical JSON: equal plans give equal bytes, and so one hash.

    Args:
        plan: the plan.

    Returns:
        JSON in UTF-8.
    """
    return json.dumps(plan_to_dict(plan), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _variant_to_json(variant: VariantSpec) -> Any:
    result: dict[str, Any] = {"name": variant.name}
    if variant.recipe is not None:
        result["recipe"] = [dict(rule) for rule in variant.recipe]
    elif variant.recipe_uri is not None:
        result["recipe"] = variant.recipe_uri
    if variant.optional:
        result["optional"] = True
    return result if len(result) > 1 else variant.name


def _device_to_dict(device: DeviceFilter) -> dict[str, Any]:
    names = ("device", "platform", "os_version", "accelerator", "threads", "run_as")
    return {"farm": device.farm, **{name: list(v) for name in names if (v := getattr(device, name))}}


def _gates_to_dict(gates: Gates) -> dict[str, Any]:
    names = ("accuracy_drop", "size_mb", "memory_mb", "layer_nrmse")
    result: dict[str, Any] = {name: v for name in names if (v := getattr(gates, name)) is not None}
    if latency := {p: v for p in ("p50", "p95") if (v := getattr(gates, f"latency_ms_{p}")) is not None}:
        result["latency_ms"] = latency
    if accuracy := {end: v for end in ("min", "max") if (v := getattr(gates, f"accuracy_{end}")) is not None}:
        result["accuracy"] = accuracy
    if gates.latency_vs is not None:
        result["latency_vs"] = dataclasses.asdict(gates.latency_vs)
    return result
