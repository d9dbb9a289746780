"""plan.yaml as pydantic models; the JSON Schema of plans is generated from them (tools/generate_schemas.py).

Importing this takes 0.1 s: import it where a plan is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from windtunnel.documents import Document
from windtunnel.documents.field_types import AsList, OneOrMany, with_error
from windtunnel.documents.problems import TAG, kind_of, nearest, problem
from windtunnel.plan.plan_field_types import (
    ApiVersion,
    Baseline,
    BuiltinName,
    Count,
    Duration,
    Farms,
    Increase,
    Number,
    OwnName,
    Positive,
    Preprocessing,
    Recipe,
    Shapes,
    Share,
    Task,
    Text,
    UpperBound,
    Way,
)
from windtunnel.plan.plan_values import BUILTIN_VARIANTS, DEFAULT_PLAN, LAST_PASSED
from windtunnel.task_names import TASK_METRICS, better

# Cells that the device filters may ask for, for each variant.
MAX_CELLS: Final = 10_000
_DEFAULT_VARIANTS: Final = [variant.name for variant in DEFAULT_PLAN.variants]
_NAME: Final = f"{TAG}name"
_OBJECT: Final = f"{TAG}object"
_BUILTIN: Final = f"{TAG}built-in"
_RECIPE: Final = f"{TAG}recipe"


class TaskDocument(Document):
    """What the model is for, and by which metric it is judged."""

    called: ClassVar[str] = "a task"

    name: Task
    metric: Text | None = Field(
        None, description="The main metric, which gates on the accuracy judge (docs/tasks.md). Absent: the task's own."
    )
    k: Count | None = Field(None, description="Of top_k, recall_at_k and neighbors_kept. Absent: 5.")
    classes: Annotated[list[Text], AsList] | None = Field(
        None, description="Names of the classes, in the order of the model's outputs. Absent: those of the samples."
    )
    output: Text | None = Field(None, description="The output that is judged. Absent: the one that the samples fit.")
    alpha: Positive | None = Field(
        None, description="Of pck: share of the larger side of the box within which a keypoint is right. Absent: 0.2."
    )

    @model_validator(mode="after")
    def _metric_of_task(self) -> Self:
        choices = TASK_METRICS[self.name].choices
        if self.metric is not None and self.metric not in choices:
            raise problem(f"the task {self.name} has no metric {self.metric!r}", nearest(self.metric, choices))
        return self

    @property
    def main(self) -> str:
        """The metric that gates on the accuracy judge."""
        return self.metric or TASK_METRICS[self.name].main


def _task_kind(value: Any) -> str:
    return _OBJECT if isinstance(value, Mapping) else _NAME


class DataDocument(Document):
    """What the variants are judged on."""

    called: ClassVar[str] = "data"

    samples: Text | None = Field(
        None,
        description="An .npz with x (several inputs: x/<input name>) and y, or a folder or archive of one sub-folder "
        "per class, or a URI of one of these.",
    )
    calibration: Text | None = Field(
        None,
        description="Samples from which ranges are taken for int8 and int16x8. Absent: drawn from `samples`, which "
        "the report mentions.",
    )
    task: (
        Annotated[Annotated[Task, Tag(_NAME)] | Annotated[TaskDocument, Tag(_OBJECT)], Discriminator(_task_kind)] | None
    ) = Field(
        None,
        description="What the model is for. Gates on the accuracy judge the task's main metric. Absent: the samples "
        "say, and gates judge the share of right samples, or of right elements of masks.",
    )

    @property
    def main_metric(self) -> str | None:
        """The metric that gates on the accuracy judge; None: the samples say."""
        if self.task is None:
            return None
        return TASK_METRICS[self.task].main if isinstance(self.task, str) else self.task.main


_OPTIONAL: Final = (
    "True: the run may pass without this variant if it cannot be made. Absent: the variant fails the run."
)


class BuiltinVariantDocument(Document):
    """A built-in variant."""

    called: ClassVar[str] = "a variant"

    name: BuiltinName
    recipe: None = None
    optional: bool | None = Field(None, description=_OPTIONAL)


class RecipeVariantDocument(Document):
    """A variant of one's own: a litert-quantizer recipe under a name of its own."""

    called: ClassVar[str] = "a variant"

    name: OwnName
    recipe: Recipe = Field(description="The rules, or the path or URI of a JSON file with them.")
    optional: bool | None = Field(None, description=_OPTIONAL)


def _variant_kind(value: Any) -> str:
    if isinstance(value, str):
        return _NAME
    return _RECIPE if isinstance(value, Mapping) and value.get("recipe") is not None else _BUILTIN


VariantDocument = Annotated[
    Annotated[BuiltinName, Tag(_NAME)]
    | Annotated[BuiltinVariantDocument, Tag(_BUILTIN)]
    | Annotated[RecipeVariantDocument, Tag(_RECIPE)],
    Discriminator(_variant_kind),
]


def name_of(variant: str | BuiltinVariantDocument | RecipeVariantDocument) -> str:
    """The name of a variant in either form.

    Args:
        variant: a name alone, or an object with a name.

    Returns:
        The name.
    """
    return variant if isinstance(variant, str) else variant.name


def _each_once(variants: list[Any]) -> list[Any]:
    seen: set[str] = set()
    for index, variant in enumerate(variants):
        name = name_of(variant)
        if name in seen:
            raise problem(f"variant {name!r} is given twice", at=(index,))
        seen.add(name)
    return variants


class DeviceDocument(Document):
    """Devices to run on. Any field may be a list: every combination is a cell."""

    called: ClassVar[str] = "a device filter"

    farm: Farms = Field(
        description="A farm of this installation: `local` is this host, `arm` ARM64 kernels under qemu, others are "
        "names of farms.yaml. A list: each of them."
    )
    device: OneOrMany[Text] = Field(None, description="Device names as the farm knows them. Absent: any.")
    platform: OneOrMany[Text] = Field(None, description="host, android, ios. Absent: any.")
    os_version: OneOrMany[Text] = Field(None, description='For example 14, or "14.10". Absent: any.')
    accelerator: OneOrMany[Text] = Field(
        None,
        description="builtin (no delegate; also: cpu, none), xnnpack, gpu, nnapi, coreml, hexagon, ...; absent: the "
        "farm's default.",
    )
    threads: OneOrMany[Count] = Field(None, description="Number of inference threads.")
    run_as: OneOrMany[Way] = Field(
        None,
        description="executable: the benchmark program by itself; app: inside an app. Absent: the farm's default.",
    )

    @property
    def cells(self) -> int:
        """How many combinations of the listed values there are; what lists nothing counts as one."""
        listed = (self.farm, self.device, self.platform, self.os_version, self.accelerator, self.threads, self.run_as)
        return math.prod(len(listed_of(value)) or 1 for value in listed)


def listed_of(value: Any) -> tuple[Any, ...]:
    """The values of a field that may hold one, several or none.

    Args:
        value: a value, a list of values, or None.

    Returns:
        The values; empty for None.
    """
    return () if value is None else tuple(value) if isinstance(value, list) else (value,)


def _few_cells(devices: list[DeviceDocument]) -> list[DeviceDocument]:
    cells = sum(device.cells for device in devices)
    if cells > MAX_CELLS:
        raise problem(f"the matrix has {cells} cells per variant", f"at most {MAX_CELLS} are run")
    return devices


class _Bounds(Document):
    """An object that must hold at least one bound."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    example: ClassVar[str]

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if not self.model_fields_set:
            raise problem("names no bound", f"write {self.called}: {self.example}")
        return self


class LatencyDocument(_Bounds):
    """Latency of one inference in milliseconds."""

    called: ClassVar[str] = "latency_ms"
    example: ClassVar[str] = "{p95: 20}"

    p50: UpperBound | None = Field(None, description="Median.")
    p95: UpperBound | None = Field(None, description="95th percentile.")


def _latency_vs_object(value: Any) -> Any:
    if value is None or isinstance(value, Mapping):
        return value
    raise problem(
        f"must be an object with baseline and max_increase, this is {kind_of(value)}",
        f"write latency_vs: {{baseline: {LAST_PASSED}, max_increase: 0.05}}",
    )


class LatencyVsDocument(Document):
    """Median latency compared with an earlier run, beyond what identical jobs differ by."""

    called: ClassVar[str] = "latency_vs"

    baseline: Baseline = Field(
        description="The run to compare with: its id, or last_passed for the last run of the same model that passed."
    )
    max_increase: Increase = Field(description="The largest allowed increase; 0.05 is 5 %.")


class AccuracyDocument(_Bounds):
    """Accuracy of the variant itself: the main metric of its task."""

    called: ClassVar[str] = "accuracy"
    example: ClassVar[str] = "{min: 0.9}"

    min: Share | None = Field(None, description="Lower bound, 0 to 1.")
    max: UpperBound | None = Field(None, description="Upper bound, for a main metric that is an error (mae, rmse).")


def _accuracy_object(value: Any) -> Any:
    if value is None or isinstance(value, Mapping):
        return value
    # A plain number is an upper bound everywhere else, and nobody wants one on the accuracy.
    raise problem(f"must be an object with min, this is {kind_of(value)}", f"write accuracy: {{min: {value}}}")


class GatesDocument(Document):
    """Bounds on measured figures of one variant."""

    called: ClassVar[str] = "gates"

    accuracy: Annotated[AccuracyDocument | None, BeforeValidator(_accuracy_object)] = Field(
        None, description="Accuracy of the variant itself."
    )
    accuracy_drop: Number | None = Field(
        None,
        description="Accuracy as trained minus accuracy of the variant, absolute; of an error such as mae, that of the "
        "variant minus that as trained. Below zero: it must have become better.",
    )
    latency_ms: LatencyDocument | None = Field(None, description="Latency of one inference in milliseconds.")
    latency_vs: Annotated[LatencyVsDocument | None, BeforeValidator(_latency_vs_object)] = Field(
        None,
        description="Median latency of one inference, compared with an earlier run. The gate passes unless the "
        "interval of the ratio lies above the limit.",
    )
    size_mb: UpperBound | None = Field(None, description="Size of the .tflite file in MB (10^6 bytes).")
    memory_mb: UpperBound | None = Field(None, description="Memory as the benchmark tool prints it.")
    layer_nrmse: UpperBound | None = Field(
        None,
        description="Largest nRMSE of any layer, compared with the float model. 0.10 separates broken from healthy.",
    )


def _only_object(value: Any) -> Any:
    if value is None or isinstance(value, Mapping):
        return value
    raise problem(f"only must be an object, this is {kind_of(value)}")


class AllGatesDocument(GatesDocument):
    """Bounds on measured figures of every variant, upper ones but for `accuracy`."""

    only: Annotated[dict[Text, GatesDocument] | None, BeforeValidator(_only_object)] = Field(
        None,
        description="Other bounds for single variants, by their names; what is not given here stays as above.",
    )


class ConversionDocument(Document):
    """How the model is converted."""

    called: ClassVar[str] = "conversion"

    select_tf_ops: bool | None = Field(
        None,
        description="Convert ops that TensorFlow Lite lacks to Select TF ops, which need the Flex library on the "
        "phone.",
    )


def _no_variants(value: Any) -> Any:
    return problem("must be a list with at least one variant", f"known are {', '.join(BUILTIN_VARIANTS)}")


def _no_list(value: Any) -> Any:
    return problem(f"must be a list, this is {kind_of(value)}")


class PlanDocument(Document):
    """What to do with a model: variants, data, preprocessing, devices, gates.

    Keys in snake_case; the same keys in camelCase are read too.
    """

    called: ClassVar[str] = "a plan"

    api_version: ApiVersion = Field(alias="apiVersion")
    data: DataDocument | None = Field(
        None, description="What the variants are judged on. Absent: seeded random inputs, and no accuracy."
    )
    preprocessing: Preprocessing | None = Field(
        None,
        description="From raw samples to what the model takes: a pipeline (schema windtunnel.pipeline/1) in place, or "
        "its path or URI. Absent: the samples are already what the model takes.",
    )
    variants: (
        Annotated[
            list[VariantDocument],
            Field(min_length=1, json_schema_extra={"uniqueItems": True}),
            AsList,
            AfterValidator(_each_once),
            with_error(_no_variants),
        ]
        | None
    ) = Field(
        None,
        description="Forms of the model to make, each under its own name.",
        json_schema_extra={"default": list(_DEFAULT_VARIANTS)},
    )
    devices: Annotated[list[DeviceDocument], AsList, AfterValidator(_few_cells), with_error(_no_list)] | None = Field(
        None,
        description=f"Where to run. Any field may be a list: the matrix is expanded, to at most {MAX_CELLS} cells per "
        "variant. An empty list: on no device.",
        json_schema_extra={"default": [{"farm": "local", "accelerator": "xnnpack", "threads": 1}]},
    )
    gates: AllGatesDocument | None = Field(
        None, description="Bounds on measured figures. None given: the run passes when it is complete."
    )
    deadline_seconds: Count | None = Field(
        None,
        description="The run ends this long after its start, complete or not. Absent: the installation's default.",
    )
    expected_accuracy: Share | None = Field(
        None,
        description="Accuracy that the training reported, 0 to 1. Samples and preprocessing that do not reproduce it "
        "fail the run.",
    )
    input_shapes: Shapes | None = Field(
        None,
        description="Shapes of inputs with dynamic dimensions, by input name, the batch first. Absent: the samples' "
        "shape.",
    )
    conversion: ConversionDocument | None = Field(None, description="How the model is converted.")
    budget_usd: UpperBound | None = Field(
        None,
        description="What the run may spend on farms, in US dollars; the farm's own budget counts too. Absent: any "
        "amount.",
    )
    reuse: Duration | None = Field(
        None,
        description="A measurement of the same variant, device, OS, accelerator, threads and app that is not older "
        "than this (for example 7d) is taken instead of a new device run. Absent: none is.",
    )

    @model_validator(mode="after")
    def _only_planned_variants(self) -> Self:
        names = _DEFAULT_VARIANTS if self.variants is None else [name_of(variant) for variant in self.variants]
        for name in (self.gates and self.gates.only) or {}:
            if name not in names:
                raise problem(f"unknown field {name!r}", nearest(name, names), ("gates", "only", name))
        return self

    @model_validator(mode="after")
    def _bounds_of_metric(self) -> Self:
        metric = None if self.data is None else self.data.main_metric
        is_error = metric is not None and better(metric) == "lower"
        if is_error and self.expected_accuracy is not None:
            hint = f"the main metric {metric} is an error: write gates: {{accuracy: {{max: ...}}}}"
            raise problem(f"expected_accuracy is a share, and the task is judged by {metric}", hint)
        for gates, at in self._all_gates():
            if gates.accuracy is None:
                continue
            if is_error and gates.accuracy.min is not None:
                hint = f"write accuracy: {{max: {gates.accuracy.min:g}}}"
                raise problem(f"less {metric} is better: it has no lower bound", hint, (*at, "accuracy", "min"))
            if not is_error and gates.accuracy.max is not None:
                raise problem(
                    f"more {metric or 'accuracy'} is better: it has no upper bound",
                    f"write accuracy: {{min: {gates.accuracy.max:g}}}; mae and rmse have a max (data.task: regression)",
                    (*at, "accuracy", "max"),
                )
        return self

    def _all_gates(self) -> Iterator[tuple[GatesDocument, tuple[str, ...]]]:
        """The gates, and those of single variants, with their places."""
        if self.gates is not None:
            yield self.gates, ("gates",)
            for name, gates in (self.gates.only or {}).items():
                yield gates, ("gates", "only", name)
