"""The values that facts are made of. A figure that is not known is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from windtunnel.datacheck.findings import Finding
from windtunnel.farms.properties import FarmProperties, properties_of
from windtunnel.run_conditions import RunConditions


@dataclass(frozen=True, slots=True)
class Blob:
    """An artifact: its SHA-256, its length in bytes and what it is."""

    sha256: str
    size_bytes: int = 0
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a model. `name` is the signature's, or the graph's, which is `tensor`.

    A free dimension of `shape` is -1. real = scale * (stored - zero_point): one value each, or one per channel; none
    if it is not quantized.
    """

    name: str
    tensor: str
    shape: tuple[int, ...]
    dtype: str
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something could not be done; see windtunnel.v1.Failure. `kind` of a cell's failure; empty: not said."""

    code: str
    message: str
    hint: str = ""
    service: str = ""
    detail: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class FarmRun:
    """The farm's own job that carried a cell. `cost_micro_usd`: the cell's share of it; None: the farm bills nothing.

    `reused`: nothing was run, an earlier measurement was taken.
    """

    id: str = ""
    url: str = ""
    cost_micro_usd: int | None = None
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of one model on labeled samples: shares from 0 to 1, loss in nats.

    `element_accuracy` is the share of right elements where labels are masks, `element_spread` its standard deviation
    from sample to sample. `task`: of the model; empty: not known. `metric`: the main one of the task, with its value
    `main`; empty: the accuracy is that of classes or elements. `figures`: every metric of the task, by name.
    """

    top1: float | None = None
    precision: float | None = None
    recall: float | None = None
    loss: float | None = None
    samples: int = 0
    element_accuracy: float | None = None
    element_spread: float | None = None
    task: str = ""
    metric: str = ""
    main: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """What messages call the accuracy."""
        return "an accuracy" if self.metric in ("", "top1", "pixel_accuracy") else f"an accuracy ({self.metric})"

    @property
    def accuracy(self) -> float | None:
        """The main figure of the task; of a task that nobody names, that of classes, or of the elements of masks."""
        if self.metric and not (self.metric == "top1" and self.top1 is not None):
            return self.main
        return self.element_accuracy if self.top1 is None else self.top1


@dataclass(frozen=True, slots=True)
class ConversionCheck:
    """The converted model compared with the original."""

    passed: bool
    message: str = ""
    original: Quality | None = None
    converted: Quality | None = None
    agreement: float | None = None
    output_nrmse: float | None = None
    synthetic_samples: bool = False
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Layers:
    """Layers of a variant against the reference. `first_over`: None if no layer exceeds the threshold.

    `non_finite` counts those that hold NaN or infinity, which have no figure and so no part in `max_nrmse`.
    """

    compared: int
    total: int
    max_nrmse: float | None = None
    first_over: str | None = None
    non_finite: int = 0


@dataclass(frozen=True, slots=True)
class Latency:
    """A latency distribution in milliseconds; `samples` counts the timed inferences."""

    p50: float | None = None
    p95: float | None = None
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    std: float | None = None
    samples: int | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one device run measured. `memory_mb` is in the tool's own MB.

    `input_shapes` by input name; `shapes_known` False: a dynamic dimension was taken as 1, so the figures are not those
    of real inputs. `conditions` None: not recorded.
    """

    latency: Latency = Latency()
    init_ms: float | None = None
    memory_mb: float | None = None
    delegate: str | None = None
    nodes_delegated: int | None = None
    nodes_total: int | None = None
    partitions: int | None = None
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shapes_known: bool | None = None
    conditions: RunConditions | None = None

    @property
    def unstable(self) -> bool:
        """Whether the latency is worthless because of other load meanwhile."""
        return self.conditions is not None and self.conditions.unstable


@dataclass(frozen=True, slots=True)
class Device:
    """Facts about the device that ran a cell."""

    name: str | None = None
    cpu: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    os: str | None = None
    os_version: str | None = None
    runtime: str | None = None
    nodes_delegated: int | None = None
    nodes_total: int | None = None


@dataclass(frozen=True, slots=True)
class CellSpec:
    """One (variant, device, OS, accelerator, threads) of a run. `threads` 0: not said."""

    id: str
    variant: str
    farm: str
    device: str = ""
    platform: str = ""
    os_version: str = ""
    accelerator: str = ""
    threads: int = 0
    # None: it was stored by a version that did not know them.
    farm_properties: FarmProperties | None = None
    # Shapes of the inputs by name; empty: the model's own. `run_as`: executable or app; empty: not reported.
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    run_as: str = ""

    @property
    def its_farm(self) -> FarmProperties:
        """What holds for all devices of the cell's farm."""
        return self.farm_properties or properties_of(self.farm)

    @property
    def needs_app(self) -> bool:
        """Whether it runs as an app. Older writers do not report it, and built apps for all cells."""
        return self.run_as in ("", "app")

    @property
    def app_platform(self) -> str:
        """The platform of the app that this cell runs: host, android or ios; empty if the cell is to be skipped."""
        return self.its_farm.platform or self.platform

    @property
    def times_count(self) -> bool:
        """Whether latencies and memory say something about the device."""
        return self.its_farm.times_count

    @property
    def label(self) -> str:
        """For people: farm, device, OS version, accelerator, threads."""
        parts = (self.farm, self.device, self.os_version, self.accelerator, str(self.threads) if self.threads else "")
        return "/".join(part for part in parts if part)
