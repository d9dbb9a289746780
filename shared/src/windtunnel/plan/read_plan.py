"""Reading a plan from YAML or JSON. Errors name the place: path, and line and column of a text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from windtunnel.errors import InvalidInput, InvalidPlan
from windtunnel.plan.plan_values import DEFAULT_PLAN, DataSet, DeviceFilter, Gates, LatencyVs, Plan, VariantSpec
from windtunnel.plan.yaml_text import Path, Places, read_yaml
from windtunnel.task_names import TaskName, TaskSpec

if TYPE_CHECKING:
    from windtunnel.plan.plan_document import (
        DeviceDocument,
        GatesDocument,
        PlanDocument,
        TaskDocument,
        VariantDocument,
    )

# Of a plan that Windtunnel wrote: a recipe or a pipeline in it may be large.
MAX_PLAN_BYTES: Final = 16 * 1024**2
MAX_CHARACTERS: Final = 200_000


def parse_plan_text(text: str) -> Plan:
    """Reads a plan from YAML, of which JSON is a part.

    Args:
        text: at most MAX_CHARACTERS characters.

    Returns:
        The plan.

    Raises:
        InvalidPlan: the first thing that is wrong, with its path, line and column.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidPlan(f"the plan has {len(text)} characters", hint=f"at most {MAX_CHARACTERS} are read")
    return _read(*read_yaml(text))


def parse_plan(value: Any) -> Plan:
    """Reads a plan from decoded JSON.

    Args:
        value: the plan as an object. Keys may be camelCase.

    Returns:
        The plan.

    Raises:
        InvalidPlan: the first thing that is wrong, with its path.
    """
    return _read(value, Places())


def plan_from_json(data: bytes) -> Plan:
    """Reads a plan that `plan_to_json` wrote.

    Args:
        data: at most MAX_PLAN_BYTES bytes.

    Returns:
        The plan.

    Raises:
        InvalidPlan: not JSON, too large, or not a plan.
    """
    if len(data) > MAX_PLAN_BYTES:
        raise InvalidPlan(f"the plan has {len(data)} bytes", hint=f"at most {MAX_PLAN_BYTES} are read")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidPlan(f"the plan is not JSON: {error}") from error
    return parse_plan(value)


def _read(value: Any, places: Places) -> Plan:
    # Here, not at the top: pydantic takes 0.1 s to import.
    from windtunnel.documents import DocumentRefused, validated
    from windtunnel.plan.plan_document import PlanDocument

    try:
        return _plan(validated(PlanDocument, value))
    except DocumentRefused as refused:
        at = places.nearest(refused.path)
        line, column = (at.line, at.column) if at is not None else (None, None)
        raise InvalidPlan(
            refused.message, path=_dotted(refused.path), line=line, column=column, hint=refused.hint
        ) from None


def _dotted(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _plan(document: PlanDocument) -> Plan:
    """The plan that a document says, defaults filled in."""
    data, gates, conversion = document.data, document.gates, document.conversion
    devices = document.devices
    return Plan(
        data=DataSet() if data is None else DataSet(data.samples, data.calibration, _task(data.task)),
        preprocessing=document.preprocessing,
        variants=DEFAULT_PLAN.variants if document.variants is None else tuple(map(_variant, document.variants)),
        devices=DEFAULT_PLAN.devices if devices is None else tuple(one for item in devices for one in _filters(item)),
        gates=Gates() if gates is None else _gates(gates),
        only={name: _gates(item) for name, item in ((gates and gates.only) or {}).items()},
        deadline_seconds=document.deadline_seconds or 0,
        expected_accuracy=document.expected_accuracy,
        input_shapes={name: tuple(shape) for name, shape in (document.input_shapes or {}).items()},
        select_tf_ops=bool(conversion and conversion.select_tf_ops),
        budget_usd=document.budget_usd,
        reuse_seconds=_seconds(document.reuse),
    )


def _task(document: TaskName | TaskDocument | None) -> TaskSpec | None:
    if document is None or isinstance(document, str):
        return None if document is None else TaskSpec(document)
    given = {name: value for name in _TASK_FIELDS if (value := getattr(document, name)) is not None}
    return TaskSpec(document.name, **{**given, "classes": tuple(given.get("classes", ()))})


_TASK_FIELDS: Final = ("metric", "k", "classes", "output", "alpha")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _seconds(duration: str | None) -> int:
    """Seconds of a time such as 7d; 0 for none."""
    return 0 if duration is None else int(duration[:-1]) * _UNITS[duration[-1]]


def _variant(document: VariantDocument) -> VariantSpec:
    if isinstance(document, str):
        return VariantSpec(document)
    optional, recipe = bool(document.optional), document.recipe
    if isinstance(recipe, str):
        return VariantSpec(document.name, recipe_uri=recipe, optional=optional)
    return VariantSpec(document.name, recipe=None if recipe is None else tuple(recipe), optional=optional)


def _filters(document: DeviceDocument) -> tuple[DeviceFilter, ...]:
    """One filter for each farm that is named."""
    from windtunnel.plan.plan_document import listed_of

    names = ("device", "platform", "os_version", "accelerator", "threads", "run_as")
    fields = {name: listed_of(getattr(document, name)) for name in names}
    return tuple(DeviceFilter(farm, **fields) for farm in listed_of(document.farm))


def _gates(document: GatesDocument) -> Gates:
    latency, accuracy, compared = document.latency_ms, document.accuracy, document.latency_vs
    return Gates(
        accuracy_drop=document.accuracy_drop,
        latency_ms_p50=None if latency is None else latency.p50,
        latency_ms_p95=None if latency is None else latency.p95,
        size_mb=document.size_mb,
        memory_mb=document.memory_mb,
        layer_nrmse=document.layer_nrmse,
        accuracy_min=None if accuracy is None else accuracy.min,
        accuracy_max=None if accuracy is None else accuracy.max,
        latency_vs=None if compared is None else LatencyVs(compared.baseline, compared.max_increase),
    )


def require_recipe_rules(value: Any, name: str) -> tuple[Mapping[str, Any], ...]:
    """A recipe as it was read from a file.

    Args:
        value: the content of the file.
        name: name of the recipe, for messages.

    Returns:
        The rules.

    Raises:
        InvalidInput: the content is not a list of rules.
    """
    if not isinstance(value, list) or not value or not all(isinstance(rule, dict) for rule in value):
        raise InvalidInput(f"recipe {name!r} is not a list of rules", hint="see litert-quantizer's recipes")
    return tuple(value)
