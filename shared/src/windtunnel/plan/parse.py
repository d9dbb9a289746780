"""Reading a plan from YAML or JSON, and writing it. Errors name the place: path, and line and column of a text."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from windtunnel.errors import InvalidInput, InvalidPlan
from windtunnel.plan.model import (
    API_VERSION,
    BUILTIN_VARIANTS,
    DEFAULT_PLAN,
    HOST_FARMS,
    DataSet,
    DeviceFilter,
    Gates,
    Plan,
    VariantSpec,
)

Path = tuple[str | int, ...]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_FARMS = (*HOST_FARMS, "adb", "firebase", "ddp", "aws")
# Of a plan that Windtunnel wrote: a recipe or a pipeline in it may be large.
MAX_PLAN_BYTES = 16 * 1024**2
MAX_CHARACTERS = 200_000
MAX_DEPTH = 20
MAX_FIELDS = 20_000
# Cells that the device filters may ask for, for each variant.
MAX_CELLS = 10_000
# YAML 1.1 reads a number with an exponent only with a dot and a sign, 1.0e+5; JSON writes 1e-05 and 1E5 too.
_JSON_FLOAT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+\Z")
# What is below these is the user's own: names are taken as they are, not as fields in another spelling.
_FREE = (("preprocessing",), ("gates", "only"), ("input_shapes",))


class PlanLoader(yaml.SafeLoader):
    """YAML as people write it, of which all of JSON is a part, its numbers too."""


PlanLoader.add_implicit_resolver("tag:yaml.org,2002:float", _JSON_FLOAT, list("-+0123456789"))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where something stands in the text, from 1; `scalar` is how it is written there."""

    line: int
    column: int
    scalar: str | None = None


def parse_plan_text(text: str) -> Plan:
    """Reads a plan from YAML (of which JSON is a part). Raises InvalidPlan with line and column."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidPlan(f"the plan has {len(text)} characters", hint=f"at most {MAX_CHARACTERS} are read")
    places: dict[Path, _Place] = {}
    try:
        loader = PlanLoader(text)
        node = loader.get_single_node()
        if node is not None:
            _record_places(node, (), places)
        value = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
        raise InvalidPlan(f"this is not YAML: {error.problem}", line=place[0], column=place[1]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidPlan(f"this is not YAML: {error}") from error
    return _Reader(places).plan(value)


def parse_plan(value: Any) -> Plan:
    """Reads a plan from decoded JSON. Keys may be camelCase. Raises InvalidPlan with the path of the field."""
    return _Reader({}).plan(value)


def plan_from_json(data: bytes) -> Plan:
    """Reads a plan that `plan_to_json` wrote, of at most MAX_PLAN_BYTES bytes. Raises InvalidPlan."""
    if len(data) > MAX_PLAN_BYTES:
        raise InvalidPlan(f"the plan has {len(data)} bytes", hint=f"at most {MAX_PLAN_BYTES} are read")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidPlan(f"the plan is not JSON: {error}") from error
    return parse_plan(value)


def _record_places(node: yaml.Node, path: Path, places: dict[Path, _Place]) -> None:
    """Where each key and item stands. An alias that leads back to its own parent is refused."""
    scalar = node.value if isinstance(node, yaml.ScalarNode) else None
    # An item of an object is looked for at its key.
    at = places.get(path) or _place(node.start_mark)
    places[path] = dataclasses.replace(at, scalar=scalar)
    if len(path) > MAX_DEPTH:
        raise InvalidPlan(f"the plan is nested more than {MAX_DEPTH} deep", hint="does an alias point at its parent?")
    if len(places) > MAX_FIELDS:
        raise InvalidPlan(f"the plan has more than {MAX_FIELDS} fields", hint="do aliases multiply?")
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = _field_name(str(key.value), path)
            at = _place(key.start_mark)
            if (*path, name) in places:
                raise InvalidPlan(f"field {name!r} is given twice", line=at.line, column=at.column)
            places[(*path, name)] = at
            _record_places(value, (*path, name), places)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _record_places(item, (*path, index), places)


def _place(mark: yaml.Mark) -> _Place:
    return _Place(mark.line + 1, mark.column + 1)


def _field_name(name: str, path: Path) -> str:
    """The name in snake_case (but apiVersion), unless the object at `path` is the user's own."""
    if path[:1] == _FREE[0] or path in _FREE[1:] or "recipe" in path:
        return name
    snake = re.sub(r"(?<=[a-z0-9])[A-Z]", lambda m: f"_{m[0].lower()}", name)
    return "apiVersion" if snake == "api_version" else snake


class _Reader:
    """Reads one plan; knows where each field stands in the text."""

    def __init__(self, places: Mapping[Path, _Place]) -> None:
        self._places = places

    def fail(self, path: Path, message: str, hint: str = "") -> InvalidPlan:
        # What is missing, or came by way of a merge key, is shown at what should hold it.
        at = next((self._places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self._places), None)
        line, column = (at.line, at.column) if at is not None else (None, None)
        return InvalidPlan(message, path=_dotted(path), line=line, column=column, hint=hint)

    def fields(self, value: Any, path: Path, known: Sequence[str], what: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise self.fail(path, f"{what} must be an object, this is {_kind(value)}")
        result: dict[str, Any] = {}
        for key, item in value.items():
            name = _field_name(str(key), path)
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                raise self.fail((*path, name), f"unknown field {str(key)!r}", hint)
            if name in result:
                raise self.fail((*path, name), f"field {name!r} is given twice")
            result[name] = item
        return result

    def optional_fields(self, value: Any, path: Path, known: Sequence[str], what: str) -> dict[str, Any]:
        return {} if value is None else self.fields(value, path, known, what)

    def plan(self, value: Any) -> Plan:
        known = (
            "apiVersion",
            "data",
            "preprocessing",
            "variants",
            "devices",
            "gates",
            "deadline_seconds",
            "expected_accuracy",
            "input_shapes",
            "conversion",
        )
        fields = self.fields(value, (), known, "a plan")
        if fields.get("apiVersion") != API_VERSION:
            raise self.fail(("apiVersion",), f"apiVersion is {fields.get('apiVersion')!r}", f"write {API_VERSION!r}")
        variants = self.variants(fields.get("variants"))
        gates, only = self.gates(fields.get("gates"), variants)
        return Plan(
            data=self.data(fields.get("data")),
            preprocessing=self.preprocessing(fields.get("preprocessing")),
            variants=variants,
            devices=self.devices(fields.get("devices")),
            gates=gates,
            only=only,
            deadline_seconds=self.deadline(fields.get("deadline_seconds")),
            expected_accuracy=self.share(fields.get("expected_accuracy"), ("expected_accuracy",)),
            input_shapes=self.input_shapes(fields.get("input_shapes")),
            select_tf_ops=self.conversion(fields.get("conversion")),
        )

    def data(self, value: Any) -> DataSet:
        fields = self.optional_fields(value, ("data",), ("samples", "calibration"), "data")
        return DataSet(*(self.optional_text(fields.get(name), ("data", name)) for name in ("samples", "calibration")))

    def input_shapes(self, value: Any) -> dict[str, tuple[int, ...]]:
        path: Path = ("input_shapes",)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.fail(path, f"must be an object of shapes by input name, this is {_kind(value)}")
        return {self.text(name, path): self.shape(item, (*path, name)) for name, item in value.items()}

    def shape(self, value: Any, path: Path) -> tuple[int, ...]:
        if not isinstance(value, (list, tuple)):
            raise self.fail(path, f"a shape is a list of sizes, this is {_kind(value)}", "for example [1, 224, 224, 3]")
        return tuple(self.count(item, (*path, index)) for index, item in enumerate(value))

    def conversion(self, value: Any) -> bool:
        fields = self.optional_fields(value, ("conversion",), ("select_tf_ops",), "conversion")
        return self.flag(fields.get("select_tf_ops"), ("conversion", "select_tf_ops"))

    def flag(self, value: Any, path: Path) -> bool:
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.fail(path, f"must be true or false, this is {_kind(value)}")
        return value

    def preprocessing(self, value: Any) -> Mapping[str, Any] | str | None:
        path: Path = ("preprocessing",)
        if value is None:
            return None
        if isinstance(value, Mapping):
            self.json_value(value, path)
            return value
        return self.location(value, path, "a pipeline object")

    def variants(self, value: Any) -> tuple[VariantSpec, ...]:
        path: Path = ("variants",)
        if value is None:
            return DEFAULT_PLAN.variants
        if not isinstance(value, (list, tuple)) or not value:
            raise self.fail(
                path, "must be a list with at least one variant", f"known are {', '.join(BUILTIN_VARIANTS)}"
            )
        variants = tuple(self.variant(item, (*path, index)) for index, item in enumerate(value))
        seen: set[str] = set()
        for index, variant in enumerate(variants):
            if variant.name in seen:
                raise self.fail((*path, index), f"variant {variant.name!r} is given twice")
            seen.add(variant.name)
        return variants

    def variant(self, value: Any, path: Path) -> VariantSpec:
        fields = (
            {"name": value}
            if isinstance(value, str)
            else self.fields(value, path, ("name", "recipe", "optional"), "a variant")
        )
        name, recipe = fields.get("name"), fields.get("recipe")
        optional = self.flag(fields.get("optional"), (*path, "optional"))
        if recipe is None:
            return dataclasses.replace(self.builtin_variant(name, path), optional=optional)
        if not isinstance(name, str) or not _NAME.match(name) or name in BUILTIN_VARIANTS:
            raise self.fail(
                (*path, "name"),
                f"a recipe needs a name of its own, this is {name!r}",
                "letters, digits, '-', '_' and '.'",
            )
        path = (*path, "recipe")
        if isinstance(recipe, (list, tuple)) and recipe and all(isinstance(rule, Mapping) for rule in recipe):
            self.json_value(recipe, path)
            return VariantSpec(name, recipe=tuple(recipe), optional=optional)
        uri = self.location(recipe, path, "a list of rules (see litert-quantizer)")
        return VariantSpec(name, recipe_uri=uri, optional=optional)

    def builtin_variant(self, name: Any, path: Path) -> VariantSpec:
        if not isinstance(name, str) or name not in BUILTIN_VARIANTS:
            near = difflib.get_close_matches(str(name), BUILTIN_VARIANTS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(BUILTIN_VARIANTS)}"
            raise self.fail(path, f"unknown variant {name!r}", f"{hint}; a recipe is {{name: ..., recipe: ...}}")
        return VariantSpec(name)

    def location(self, value: Any, path: Path, instead: str) -> str:
        """A URI or path of something that may also be given in place."""
        if not isinstance(value, str) or not value or value.lstrip()[:1] in ("{", "[", ""):
            raise self.fail(path, f"must be {instead} or a URI, this is {_kind(value)}")
        return value

    def json_value(self, value: Any, path: Path) -> None:
        """Refuses what JSON cannot say: YAML reads dates, sets and .nan too."""
        if len(path) > MAX_DEPTH:
            raise self.fail(path, f"nested more than {MAX_DEPTH} deep")
        if isinstance(value, Mapping):
            for key, item in value.items():
                if not isinstance(key, str):
                    raise self.fail(path, f"keys must be text, this is {_kind(key)}")
                self.json_value(item, (*path, key))
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                self.json_value(item, (*path, index))
        elif not (value is None or isinstance(value, (str, int, float))):
            raise self.fail(path, f"must be a JSON value, this is {_kind(value)}", "put it in quotes")
        elif isinstance(value, float) and not math.isfinite(value):
            raise self.fail(path, f"must be a finite number, this is {value!r}")

    def devices(self, value: Any) -> tuple[DeviceFilter, ...]:
        if value is None:
            return DEFAULT_PLAN.devices
        if not isinstance(value, (list, tuple)):
            raise self.fail(("devices",), f"must be a list, this is {_kind(value)}")
        filters = tuple(one for index, item in enumerate(value) for one in self.device(item, ("devices", index)))
        cells = sum(_cells_of(one) for one in filters)
        if cells > MAX_CELLS:
            raise self.fail(("devices",), f"the matrix has {cells} cells per variant", f"at most {MAX_CELLS} are run")
        return filters

    def device(self, value: Any, path: Path) -> tuple[DeviceFilter, ...]:
        """One filter for each farm that is named."""
        known = ("farm", "device", "platform", "os_version", "accelerator", "threads")
        fields = self.fields(value, path, known, "a device filter")
        farms = self.listed(fields.get("farm"), (*path, "farm"), self.text)
        if not farms:
            raise self.fail((*path, "farm"), "a farm must be named", f"known are {', '.join(_FARMS)}")
        for farm in farms:
            if farm not in _FARMS:
                near = difflib.get_close_matches(farm, _FARMS, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_FARMS)}"
                raise self.fail((*path, "farm"), f"unknown farm {farm!r}", hint)
        texts = {
            name: self.listed(fields.get(name), (*path, name), self.text)
            for name in ("device", "platform", "os_version", "accelerator")
        }
        threads = self.listed(fields.get("threads"), (*path, "threads"), self.count)
        return tuple(DeviceFilter(farm, threads=threads, **texts) for farm in farms)

    def gates(self, value: Any, variants: Sequence[VariantSpec]) -> tuple[Gates, dict[str, Gates]]:
        known = ("accuracy", "accuracy_drop", "latency_ms", "size_mb", "memory_mb", "layer_nrmse", "only")
        fields = self.optional_fields(value, ("gates",), known, "gates")
        names = [variant.name for variant in variants]
        checked = self.optional_fields(fields.pop("only", None), ("gates", "only"), names, "only")
        only = {
            name: self.gate_values(
                self.fields(item, ("gates", "only", name), known[:-1], "gates"), ("gates", "only", name)
            )
            for name, item in checked.items()
        }
        return self.gate_values(fields, ("gates",)), only

    def gate_values(self, fields: dict[str, Any], path: Path) -> Gates:
        latency, accuracy = fields.pop("latency_ms", None), fields.pop("accuracy", None)
        bounds = {name: self.bound(item, (*path, name)) for name, item in fields.items()}
        if latency is not None:
            inner = self.fields(latency, (*path, "latency_ms"), ("p50", "p95"), "latency_ms")
            if not inner:
                raise self.fail((*path, "latency_ms"), "names no bound", "write latency_ms: {p95: 20}")
            for name, item in inner.items():
                bounds[f"latency_ms_{name}"] = self.bound(item, (*path, "latency_ms", name))
        if accuracy is not None:
            if not isinstance(accuracy, Mapping):
                # A plain number is an upper bound everywhere else, and nobody wants one on the accuracy.
                hint = f"write accuracy: {{min: {accuracy}}}"
                raise self.fail((*path, "accuracy"), f"must be an object with min, this is {_kind(accuracy)}", hint)
            inner = self.fields(accuracy, (*path, "accuracy"), ("min",), "accuracy")
            if not inner:
                raise self.fail((*path, "accuracy"), "names no bound", "write accuracy: {min: 0.9}")
            bounds["accuracy_min"] = self.share(inner.get("min"), (*path, "accuracy", "min"))
        return Gates(**bounds)

    def deadline(self, value: Any) -> int:
        return 0 if value is None else self.count(value, ("deadline_seconds",))

    def share(self, value: Any, path: Path) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            hint = f"{value} % is {value / 100:g}" if isinstance(value, (int, float)) and 1 < value <= 100 else ""
            raise self.fail(path, f"must be a share from 0 to 1, this is {_kind(value)}", hint)
        return float(value)

    def bound(self, value: Any, path: Path) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
            raise self.fail(path, f"must be a number, this is {_kind(value)}")
        if value < 0 and path[-1] != "accuracy_drop":
            raise self.fail(path, f"an upper bound below zero can never hold: {value!r}")
        return float(value)

    def listed(self, value: Any, path: Path, read: Callable[[Any, Path], Any]) -> tuple[Any, ...]:
        if value is None:
            return ()
        if isinstance(value, (list, tuple)):
            return tuple(read(item, (*path, index)) for index, item in enumerate(value))
        return (read(value, path),)

    def text(self, value: Any, path: Path) -> str:
        # YAML reads `os_version: 14.10` as the number 14.1; a version is text, as it is written.
        if isinstance(value, (int, float)) and not isinstance(value, bool) and _is_finite(value):
            at = self._places.get(path)
            return at.scalar if at is not None and at.scalar is not None else str(value)
        if not isinstance(value, str) or not value:
            raise self.fail(path, f"must be text, this is {_kind(value)}")
        return value

    def optional_text(self, value: Any, path: Path) -> str | None:
        return None if value is None else self.text(value, path)

    def count(self, value: Any, path: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
            raise self.fail(path, f"must be a whole number from 1 to 1000000, this is {_kind(value)}")
        return value


def _cells_of(device: DeviceFilter) -> int:
    """How many combinations of the listed values there are; what lists nothing counts as one."""
    listed = (device.device, device.platform, device.os_version, device.accelerator, device.threads)
    return math.prod(len(values) or 1 for values in listed)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r:.60}"


def _dotted(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """The plan in the form of plan.yaml; `parse_plan` of it gives the plan again."""
    result: dict[str, Any] = {"apiVersion": API_VERSION}
    if data := {k: v for k in ("samples", "calibration") if (v := getattr(plan.data, k)) is not None}:
        result["data"] = data
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
    return result


def plan_to_json(plan: Plan) -> bytes:
    """The plan as canonical JSON: equal plans give equal bytes, and so one hash."""
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
    names = ("device", "platform", "os_version", "accelerator", "threads")
    return {"farm": device.farm, **{name: list(v) for name in names if (v := getattr(device, name))}}


def _gates_to_dict(gates: Gates) -> dict[str, Any]:
    names = ("accuracy_drop", "size_mb", "memory_mb", "layer_nrmse")
    result: dict[str, Any] = {name: v for name in names if (v := getattr(gates, name)) is not None}
    if latency := {p: v for p in ("p50", "p95") if (v := getattr(gates, f"latency_ms_{p}")) is not None}:
        result["latency_ms"] = latency
    if gates.accuracy_min is not None:
        result["accuracy"] = {"min": gates.accuracy_min}
    return result


def require_recipe_rules(value: Any, name: str) -> tuple[Mapping[str, Any], ...]:
    """A recipe as read from a file: a list of rules. Raises InvalidInput naming the recipe."""
    if not isinstance(value, list) or not value or not all(isinstance(rule, dict) for rule in value):
        raise InvalidInput(f"recipe {name!r} is not a list of rules", hint="see litert-quantizer's recipes")
    return tuple(value)
