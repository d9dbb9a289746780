"""From shared protobuf types to values. A figure that is not finite is left out and named."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from google.protobuf.message import Message

from windtunnel.artifacts.stores.port import check_sha256
from windtunnel.bus import Malformed
from windtunnel.enum_words import FAILURE_KIND, PLATFORM, RUN_AS
from windtunnel.errors import InvalidInput
from windtunnel.metrics_store.domain.facts import AppCause
from windtunnel.metrics_store.domain.values import (
    Blob,
    CellSpec,
    ConversionCheck,
    Device,
    Failure,
    FarmRun,
    Latency,
    Layers,
    Measurement,
    Quality,
    Tensor,
)
from windtunnel.plan import shapes_from_proto
from windtunnel.run_conditions import RunConditions
from windtunnel.service.protobuf_values import farm_properties_of, findings_from_proto
from windtunnel.v1 import events_pb2, types_pb2

_LARGEST = 2**63 - 1


class Figures:
    """Reads optional figures and remembers those that are not finite."""

    def __init__(self) -> None:
        self._found: list[str] = []

    @property
    def anomalies(self) -> tuple[str, ...]:
        """Names of the figures that are not finite."""
        return tuple(self._found)

    def read(self, message: Message, name: str, place: str = "") -> float | None:
        """Reads a figure.

        Args:
            message: that has it.
            name: of its field.
            place: of the message, for the names of anomalies.

        Returns:
            None if it is absent or not finite.
        """
        if not message.HasField(name):
            return None
        value = float(getattr(message, name))
        if math.isfinite(value):
            return value
        self._found.append(f"{place + '.' if place else ''}{name} is {value}")
        return None


def optional(message: Message, name: str) -> Any:
    """The value of an optional field.

    Args:
        message: that has it.
        name: of the field.

    Returns:
        None if it is absent.
    """
    return getattr(message, name) if message.HasField(name) else None


def blob(message: types_pb2.Artifact) -> Blob | None:
    """The artifact that a message names.

    Args:
        message: from the wire.

    Returns:
        None: it names none.

    Raises:
        Malformed: its name is not a hash.
    """
    if not message.sha256:
        return None
    try:
        check_sha256(message.sha256)
    except InvalidInput as error:
        raise Malformed(f"an artifact's sha256 is wrong: {error.message}") from error
    if message.size_bytes > _LARGEST:
        raise Malformed(f"artifact {message.sha256} claims {message.size_bytes} bytes")
    return Blob(message.sha256, message.size_bytes, message.media_type)


def required_blob(message: types_pb2.Artifact, field: str) -> Blob:
    """The artifact that a message names.

    Args:
        message: from the wire.
        field: its name, for the message.

    Returns:
        The artifact.

    Raises:
        Malformed: it names none.
    """
    found = blob(message)
    if found is None:
        raise Malformed(f"{field} names no artifact")
    return found


def failure_of(message: types_pb2.Failure) -> Failure:
    """Reads a failure.

    Args:
        message: from the wire.

    Returns:
        The failure.
    """
    kind = FAILURE_KIND.read(message.kind, "")
    return Failure(message.code, message.message, message.hint, message.service, message.detail, kind)


def app_cause_of(message: events_pb2.AppCause) -> AppCause:
    """Reads what is wrong around a model in an app.

    Args:
        message: from the wire.

    Returns:
        The cause.
    """
    return AppCause(
        code=message.code,
        layer=message.layer,
        op_index=message.op_index if message.HasField("op_index") else None,
        confidence=message.confidence if math.isfinite(message.confidence) else None,
        verified=message.verified,
        words=tuple(message.words),
    )


def farm_run_of(message: events_pb2.DeviceRunFinished | events_pb2.DeviceRunMeasured) -> FarmRun | None:
    """What carried a device run.

    Args:
        message: from the wire.

    Returns:
        None: an older writer does not say.

    Raises:
        Malformed: it costs less than nothing.
    """
    if not message.HasField("farm_run"):
        return FarmRun(reused=True) if message.reused else None
    return dataclasses.replace(farm_run_from(message.farm_run), reused=message.reused)


def farm_run_from(message: types_pb2.FarmRunInfo) -> FarmRun:
    """Reads a farm run.

    Args:
        message: from the wire.

    Returns:
        The farm run.

    Raises:
        Malformed: it costs less than nothing.
    """
    cost = optional(message, "cost_micro_usd")
    if cost is not None and cost < 0:
        raise Malformed(f"a farm run costs {cost} millionths of a dollar")
    return FarmRun(message.id, message.url, cost)


def cell_spec(message: types_pb2.Cell) -> CellSpec:
    """Reads a cell.

    Args:
        message: from the wire.

    Returns:
        The cell.

    Raises:
        Malformed: it has no id or no variant.
    """
    if not message.id or not message.variant:
        raise Malformed(f"a cell has id {message.id!r} and variant {message.variant!r}", hint="both are needed")
    return CellSpec(
        id=message.id,
        variant=message.variant,
        farm=message.farm,
        device=message.device,
        platform=PLATFORM.read(message.device_platform, message.platform),
        os_version=message.os_version,
        accelerator=message.accelerator,
        threads=message.threads,
        farm_properties=farm_properties_of(message),
        input_shapes=dict(sorted(shapes_from_proto(message.input_shapes).items())),
        run_as=RUN_AS.read(message.run_as, ""),
    )


def quality_of(message: types_pb2.QualityFigures, figures: Figures, place: str) -> Quality:
    """Reads the quality of a model.

    Args:
        message: from the wire.
        figures: notes anomalies.
        place: of the message, for the names of anomalies.

    Returns:
        The quality.
    """
    top1, precision, recall, loss, elements, spread = (
        figures.read(message, name, place)
        for name in ("top1", "precision", "recall", "loss", "element_accuracy", "element_spread")
    )
    main = figures.read(message, "main", place)
    known = {name: value for name, value in sorted(message.figures.items()) if math.isfinite(value)}
    return Quality(
        top1, precision, recall, loss, message.samples, elements, spread, message.task, message.metric, main, known
    )


def check_of(message: types_pb2.ConversionCheck, figures: Figures) -> ConversionCheck:
    """Reads the check of a conversion.

    Args:
        message: from the wire.
        figures: notes anomalies.

    Returns:
        The check.
    """
    return ConversionCheck(
        passed=message.passed,
        message=message.message,
        original=quality_of(message.original, figures, "original") if message.HasField("original") else None,
        converted=quality_of(message.converted, figures, "converted") if message.HasField("converted") else None,
        agreement=figures.read(message, "agreement"),
        output_nrmse=figures.read(message, "output_nrmse"),
        synthetic_samples=message.synthetic_samples,
        findings=findings_from_proto(message.findings),
    )


def layers_of(message: types_pb2.LayerSummary, figures: Figures) -> Layers:
    """Reads the summary of a layer comparison.

    Args:
        message: from the wire.
        figures: notes anomalies.

    Returns:
        The summary.
    """
    nrmse = figures.read(message, "max_nrmse", "layers")
    return Layers(message.compared, message.total, nrmse, message.first_over or None, message.non_finite)


def measurement_of(message: types_pb2.Measurement, figures: Figures) -> Measurement:
    """Reads a measurement.

    Args:
        message: from the wire.
        figures: notes anomalies.

    Returns:
        The measurement.
    """
    latency = message.latency_ms
    p50, p95, mean, low, high, std = (
        figures.read(latency, name, "latency_ms") for name in ("p50", "p95", "mean", "min", "max", "std")
    )
    return Measurement(
        latency=Latency(p50, p95, mean, low, high, std, optional(latency, "samples")),
        init_ms=figures.read(message, "init_ms"),
        memory_mb=figures.read(message, "memory_mb"),
        delegate=message.delegate or None,
        nodes_delegated=optional(message, "nodes_delegated"),
        nodes_total=optional(message, "nodes_total"),
        partitions=optional(message, "partitions"),
        input_shapes=dict(sorted(shapes_from_proto(message.input_shapes).items())),
        shapes_known=optional(message, "shapes_known"),
        conditions=_conditions(message.conditions, figures) if message.HasField("conditions") else None,
    )


def _conditions(message: types_pb2.RunConditions, figures: Figures) -> RunConditions:
    load, spread, drift, waited = (
        figures.read(message, name, "conditions") for name in ("other_load_cores", "spread", "drift", "waited")
    )
    before, after = (figures.read(message, f"battery_celsius_{when}", "conditions") for when in ("before", "after"))
    printed = {
        name: optional(message, name)
        for name in ("thermal_status_before", "thermal_status_after", "cpu_khz_before", "cpu_khz_after")
    }
    return RunConditions(
        load, spread, drift, waited, message.repeats, message.unstable, message.reason, before, after, **printed
    )


def device_of(message: types_pb2.DeviceFacts) -> Device:
    """Reads the facts of a device.

    Args:
        message: from the wire.

    Returns:
        The facts; empty texts are None.
    """
    return Device(
        name=message.name or None,
        cpu=message.cpu or None,
        cores=optional(message, "cores"),
        memory_bytes=optional(message, "memory_bytes"),
        os=message.os or None,
        os_version=message.os_version or None,
        runtime=message.runtime or None,
        nodes_delegated=optional(message, "nodes_delegated"),
        nodes_total=optional(message, "nodes_total"),
    )


def tensor_of(message: types_pb2.TensorInfo) -> Tensor:
    """Reads an input or output. A scale that is not finite is left out, as no scale.

    Args:
        message: from the wire.

    Returns:
        The tensor.
    """
    scales = tuple(message.scale) if all(map(math.isfinite, message.scale)) else ()
    return Tensor(
        name=message.signature_name or message.name,
        tensor=message.name,
        shape=tuple(message.shape),
        dtype=message.dtype,
        scale=scales,
        zero_point=tuple(message.zero_point) if scales else (),
    )
