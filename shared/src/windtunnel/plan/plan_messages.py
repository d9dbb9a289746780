"""The plan as the protobuf message."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration

from windtunnel.enum_words import PLATFORM, RUN_AS
from windtunnel.errors import InvalidPlan
from windtunnel.plan.plan_values import API_VERSION, Gates, Plan, VariantSpec
from windtunnel.plan.read_plan import parse_plan
from windtunnel.task_names import TaskSpec
from windtunnel.v1 import plan_pb2, types_pb2

_GATES = (
    *("accuracy_drop", "latency_ms_p50", "latency_ms_p95", "size_mb", "memory_mb", "layer_nrmse"),
    *("accuracy_min", "accuracy_max"),
)


def plan_to_proto(plan: Plan) -> plan_pb2.Plan:
    """The plan as a message.

    Args:
        plan: the plan. If a recipe or the preprocessing has not been read yet, its URI is in the message.

    Returns:
        The message.
    """
    return plan_pb2.Plan(
        api_version="windtunnel/v1",
        data=plan_pb2.DataSet(
            samples=plan.data.samples or "",
            calibration=plan.data.calibration or "",
            task=None if plan.data.task is None else plan_pb2.Task(**_task_fields(plan.data.task)),
        ),
        preprocessing_json=_json(plan.preprocessing),
        variants=[variant_to_proto(variant) for variant in plan.variants],
        devices=[
            plan_pb2.DeviceFilter(
                farm=device.farm,
                devices=device.device,
                platforms=device.platform,
                device_platforms=PLATFORM.numbers(device.platform),
                os_versions=device.os_version,
                accelerators=device.accelerator,
                threads=device.threads,
                run_as=RUN_AS.numbers(device.run_as),
            )
            for device in plan.devices
        ],
        gates=_gates_to_proto(plan.gates),
        only={name: _gates_to_proto(gates) for name, gates in plan.only.items()},
        deadline_seconds=plan.deadline_seconds,
        no_devices=not plan.devices,
        expected_accuracy=plan.expected_accuracy,
        input_shapes=shapes_to_proto(plan.input_shapes),
        select_tf_ops=plan.select_tf_ops,
        budget_usd=plan.budget_usd,
        reuse=Duration(seconds=plan.reuse_seconds) if plan.reuse_seconds else None,
    )


def plan_from_proto(message: plan_pb2.Plan) -> Plan:
    """The plan that a message holds, checked as a plan in YAML is.

    Args:
        message: the message.

    Returns:
        The plan.

    Raises:
        InvalidPlan: the first thing that is wrong, with its path.
    """
    return parse_plan(
        {
            "apiVersion": message.api_version or None,
            "data": {
                "samples": message.data.samples or None,
                "calibration": message.data.calibration or None,
                "task": _task_to_dict(message.data.task) if message.data.HasField("task") else None,
            },
            "preprocessing": _from_json(message.preprocessing_json, "preprocessing"),
            "variants": [_variant_to_dict(variant) for variant in message.variants] or None,
            "devices": [_device_to_dict(device) for device in message.devices] or ([] if message.no_devices else None),
            "gates": {
                **_gates_to_dict(message.gates),
                "only": {name: _gates_to_dict(gates) for name, gates in message.only.items()},
            },
            "deadline_seconds": message.deadline_seconds or None,
            "expected_accuracy": message.expected_accuracy if message.HasField("expected_accuracy") else None,
            "input_shapes": {name: list(shape) for name, shape in shapes_from_proto(message.input_shapes).items()},
            "conversion": {"select_tf_ops": message.select_tf_ops},
            "budget_usd": message.budget_usd if message.HasField("budget_usd") else None,
            "reuse": f"{message.reuse.seconds}s" if message.reuse.seconds else None,
        }
    )


def shapes_to_proto(shapes: Mapping[str, Sequence[int]]) -> list[types_pb2.InputShape]:
    """Shapes of inputs as messages.

    Args:
        shapes: every dimension, the batch first, by input name.

    Returns:
        One message per input.
    """
    return [types_pb2.InputShape(name=name, shape=shape) for name, shape in shapes.items()]


def shapes_from_proto(messages: Iterable[types_pb2.InputShape]) -> dict[str, tuple[int, ...]]:
    """Shapes of inputs from messages.

    Args:
        messages: one message per input.

    Returns:
        Every dimension, the batch first, by input name.
    """
    return {message.name: tuple(message.shape) for message in messages}


def variant_to_proto(variant: VariantSpec) -> plan_pb2.VariantSpec:
    """One variant as a message.

    Args:
        variant: the variant.

    Returns:
        The message.
    """
    recipe = variant.recipe_uri if variant.recipe is None else [dict(rule) for rule in variant.recipe]
    return plan_pb2.VariantSpec(name=variant.name, recipe_json=_json(recipe), may_be_missing=variant.optional)


def _json(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _from_json(text: str, what: str) -> Any:
    if not text:
        return None
    try:
        # A URI in place of the object itself is allowed, as in YAML.
        return json.loads(text) if text.lstrip()[:1] in ("{", "[") else text
    except (ValueError, RecursionError) as error:
        raise InvalidPlan(f"not JSON: {error}", path=what) from error


def _variant_to_dict(variant: plan_pb2.VariantSpec) -> Any:
    recipe = _from_json(variant.recipe_json, f"variants.{variant.name}.recipe")
    return {"name": variant.name, "recipe": recipe, "optional": variant.may_be_missing or None}


def task_from_proto(message: plan_pb2.Task) -> TaskSpec | None:
    """The task of a request, checked as that of a plan is.

    Args:
        message: the message.

    Returns:
        None for a message without a name.

    Raises:
        InvalidPlan: what is wrong with it.
    """
    if not message.name:
        return None
    return parse_plan({"apiVersion": API_VERSION, "data": {"task": _task_to_dict(message)}}).data.task


def _task_fields(task: TaskSpec) -> dict[str, Any]:
    said = task.to_json()
    return {"name": said} if isinstance(said, str) else said


def _task_to_dict(message: plan_pb2.Task) -> dict[str, Any]:
    return {
        "name": message.name or None,
        "metric": message.metric or None,
        "k": message.k or None,
        "classes": list(message.classes) or None,
        "output": message.output or None,
        "alpha": message.alpha or None,
    }


def _device_to_dict(device: plan_pb2.DeviceFilter) -> dict[str, Any]:
    return {
        "farm": device.farm or None,
        "device": list(device.devices),
        "platform": list(PLATFORM.read_all(device.device_platforms, device.platforms)),
        "os_version": list(device.os_versions),
        "accelerator": list(device.accelerators),
        "threads": list(device.threads),
        "run_as": list(RUN_AS.read_all(device.run_as, ())),
    }


def _gates_to_proto(gates: Gates) -> plan_pb2.Gates:
    bounds = {name: getattr(gates, name) for name in _GATES}
    compared = gates.latency_vs
    latency_vs = None if compared is None else plan_pb2.LatencyVs(**dataclasses.asdict(compared))
    return plan_pb2.Gates(**bounds, latency_vs=latency_vs)


def _gates_to_dict(gates: plan_pb2.Gates) -> dict[str, Any]:
    given: dict[str, Any] = {descriptor.name: value for descriptor, value in gates.ListFields()}
    latency = {p: given.pop(f"latency_ms_{p}") for p in ("p50", "p95") if f"latency_ms_{p}" in given}
    if accuracy := {end: given.pop(f"accuracy_{end}") for end in ("min", "max") if f"accuracy_{end}" in given}:
        given["accuracy"] = accuracy
    if "latency_vs" in given:
        compared = given.pop("latency_vs")
        given["latency_vs"] = {"baseline": compared.baseline or None, "max_increase": compared.max_increase}
    return {**given, "latency_ms": latency} if latency else given
