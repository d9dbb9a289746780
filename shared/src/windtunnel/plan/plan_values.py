"""The plan as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from windtunnel.accelerators import spelled_in_cells
from windtunnel.task_names import TaskSpec

BuiltinVariant = Literal["float32", "float16", "dynamic_range", "int8", "int16x8"]
BUILTIN_VARIANTS: Final[tuple[str, ...]] = get_args(BuiltinVariant)
# The variant that is the converted model itself.
AS_IT_IS: Final = "float32"
API_VERSION: Final = "windtunnel/v1"
# How a cell runs: the benchmark program by itself, or inside an app.
RunAs = Literal["executable", "app"]
RUN_AS: Final[tuple[str, ...]] = get_args(RunAs)


@dataclass(frozen=True, slots=True)
class DataSet:
    """URIs (or, before submission, local paths) of samples and calibration set; None: not given.

    `task` None: the samples say what the task is.
    """

    samples: str | None = None
    calibration: str | None = None
    task: TaskSpec | None = None


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """A variant to make. `recipe` (a litert-quantizer recipe, a list of rules) is None for the built-in ones.

    `recipe_uri` is where the recipe lies as long as it has not been read. `optional`: the run may pass without the
    variant if it cannot be made.
    """

    name: str
    recipe: tuple[Mapping[str, Any], ...] | None = None
    recipe_uri: str | None = None
    optional: bool = False

    @property
    def needs_calibration(self) -> bool:
        """Whether this variant needs a calibration set; for a recipe only the quantizer knows."""
        return self.name in ("int8", "int16x8") and self.recipe is None


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Devices to run on; every combination of the values is a cell of each variant. Empty: any.

    Accelerators may be given in any spelling; the value holds the one that plans and cells use.
    """

    farm: str
    device: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    os_version: tuple[str, ...] = ()
    accelerator: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    run_as: tuple[RunAs, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "accelerator", tuple(map(spelled_in_cells, self.accelerator)))


# The baseline of `latency_vs` that is looked up: the last run of the same model that passed.
LAST_PASSED: Final = "last_passed"


@dataclass(frozen=True, slots=True)
class LatencyVs:
    """How much slower than a baseline a variant may be. `baseline`: a run id or LAST_PASSED; 0.05 allows 5 %."""

    baseline: str
    max_increase: float


@dataclass(frozen=True, slots=True)
class Gates:
    """Bounds on measured figures, upper ones except for `accuracy_min`; None: no gate."""

    accuracy_drop: float | None = None
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None
    size_mb: float | None = None
    memory_mb: float | None = None
    layer_nrmse: float | None = None
    # Lower bound: accuracy of the variant, 0 to 1.
    accuracy_min: float | None = None
    # Median latency of one inference, compared with that of an earlier run.
    latency_vs: LatencyVs | None = None
    # Upper bound: accuracy of the variant, if the main metric of its task is an error.
    accuracy_max: float | None = None

    def overridden_by(self, other: Gates | None) -> Gates:
        """These gates with some of them replaced.

        Args:
            other: the gates that replace those of the same name; its fields that are None replace nothing. None: no
                gates.

        Returns:
            The gates.
        """
        if other is None:
            return self
        given = {f.name: v for f in dataclasses.fields(Gates) if (v := getattr(other, f.name)) is not None}
        return dataclasses.replace(self, **given)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a model. `preprocessing` is a pipeline object, or a URI or path of one, or None."""

    data: DataSet = DataSet()
    preprocessing: Mapping[str, Any] | str | None = None
    variants: tuple[VariantSpec, ...] = ()
    devices: tuple[DeviceFilter, ...] = ()
    gates: Gates = Gates()
    only: Mapping[str, Gates] = field(default_factory=lambda: MappingProxyType({}))
    # The run ends this many seconds after its start, complete or not; 0: the store's default.
    deadline_seconds: int = 0
    # Accuracy that the training reported, 0 to 1; samples and preprocessing must reproduce it.
    expected_accuracy: float | None = None
    # Shapes of inputs with dynamic dimensions, by input name; not named here: the samples' shape.
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    # Convert ops that TensorFlow Lite lacks to Select TF ops, which need the Flex library on the phone.
    select_tf_ops: bool = False
    # What the run may spend on farms, in US dollars; None: any amount.
    budget_usd: float | None = None
    # A measurement of the same cell that is not older than this many seconds is taken; 0: none is.
    reuse_seconds: int = 0

    def gates_of(self, variant: str) -> Gates:
        """The gates that hold for one variant.

        Args:
            variant: name of the variant.

        Returns:
            The gates of the plan, overridden by those for this variant.
        """
        return self.gates.overridden_by(self.only.get(variant))


DEFAULT_PLAN: Final = Plan(
    variants=tuple(VariantSpec(name) for name in ("float32", "float16", "dynamic_range")),
    devices=(DeviceFilter("local", accelerator=("xnnpack",), threads=(1,)),),
)
