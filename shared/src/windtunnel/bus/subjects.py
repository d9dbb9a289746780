"""All subjects, streams and buckets, and which message travels on which subject."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

from windtunnel.v1 import events_pb2

STREAM: Final = "WINDTUNNEL"
DEAD_STREAM: Final = "WINDTUNNEL_DEAD"
ALL: Final = "windtunnel.>"
JSON_PREFIX: Final = "windtunnel.json."
DEAD: Final = "windtunnel_dead.letters"

RESULTS_BUCKET: Final = "windtunnel_results"
RUNS_BUCKET: Final = "windtunnel_runs"
PLANS_BUCKET: Final = "windtunnel_plans"
CANCELED_BUCKET: Final = "windtunnel_canceled"
FARM_RUNS_BUCKET: Final = "windtunnel_farm_runs"
MEASURED_BUCKET: Final = "windtunnel_measured"

MODEL_TRAINED: Final = "windtunnel.model.trained"
MODEL_CONVERTED: Final = "windtunnel.model.converted"
MODEL_FAILED: Final = "windtunnel.model.failed"
VARIANT_READY: Final = "windtunnel.variant.ready"
VARIANT_FAILED: Final = "windtunnel.variant.failed"
VARIANT_COMPARED: Final = "windtunnel.variant.compared"
CELLS_PLANNED: Final = "windtunnel.cells.planned"
CELLS_FAILED: Final = "windtunnel.cells.failed"
APP_BUILT: Final = "windtunnel.app.built"
APP_FAILED: Final = "windtunnel.app.failed"
DEVICE_RUN_FINISHED: Final = "windtunnel.device_run.finished"
DEVICE_RUN_PROGRESSED: Final = "windtunnel.device_run.progressed"
DEVICE_RUN_FAILED: Final = "windtunnel.device_run.failed"
DEVICE_RUN_MEASURED: Final = "windtunnel.device_run.measured"
DEVICE_RUN_DIAGNOSED: Final = "windtunnel.device_run.diagnosed"
REPEATS_REQUESTED: Final = "windtunnel.repeats.requested"
RUN_COMPLETED: Final = "windtunnel.run.completed"

MESSAGES: Final[dict[str, type[Message]]] = {
    MODEL_TRAINED: events_pb2.ModelTrained,
    MODEL_CONVERTED: events_pb2.ModelConverted,
    MODEL_FAILED: events_pb2.ModelFailed,
    VARIANT_READY: events_pb2.VariantReady,
    VARIANT_FAILED: events_pb2.VariantFailed,
    VARIANT_COMPARED: events_pb2.VariantCompared,
    CELLS_PLANNED: events_pb2.CellsPlanned,
    CELLS_FAILED: events_pb2.CellsFailed,
    APP_BUILT: events_pb2.AppBuilt,
    APP_FAILED: events_pb2.AppFailed,
    DEVICE_RUN_FINISHED: events_pb2.DeviceRunFinished,
    DEVICE_RUN_PROGRESSED: events_pb2.DeviceRunProgressed,
    DEVICE_RUN_FAILED: events_pb2.DeviceRunFailed,
    DEVICE_RUN_MEASURED: events_pb2.DeviceRunMeasured,
    DEVICE_RUN_DIAGNOSED: events_pb2.DeviceRunDiagnosed,
    REPEATS_REQUESTED: events_pb2.RepeatsRequested,
    RUN_COMPLETED: events_pb2.RunCompleted,
}

_SUBJECT_OF: Final = {message.DESCRIPTOR.full_name: subject for subject, message in MESSAGES.items()}


def subject_of(message: Message) -> str:
    """The subject on which a message travels.

    Args:
        message: the data of an event.

    Returns:
        The subject.

    Raises:
        KeyError: the message is not an event.
    """
    return _SUBJECT_OF[message.DESCRIPTOR.full_name]


def json_subject_of(subject: str) -> str:
    """The subject on which events are published again as JSON, for listeners.

    Args:
        subject: of the events.

    Returns:
        The subject.
    """
    return f"{JSON_PREFIX}{subject.removeprefix('windtunnel.')}"


def type_of(subject: str) -> str:
    """The CloudEvents type of events.

    Args:
        subject: of the events.

    Returns:
        The type.
    """
    return f"{subject}.v1"
