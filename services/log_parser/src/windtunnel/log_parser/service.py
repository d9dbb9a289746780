"""The log parser's gRPC servicer and event handler: decode, call the use case, encode."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc

from windtunnel.artifacts import ArtifactRef
from windtunnel.bus import Event, Malformed, job_key
from windtunnel.enum_words import FAILURE_KIND
from windtunnel.errors import InvalidInput, WindtunnelError
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.log_parser.domain.log import Delegate, RunLog
from windtunnel.log_parser.settings import LogParserSettings
from windtunnel.log_parser.use_cases.judge_run import judge_run
from windtunnel.log_parser.use_cases.measure_cell import Measurement, measure
from windtunnel.log_parser.use_cases.parse_log import parse_log
from windtunnel.log_parser.use_cases.read_results import read_results
from windtunnel.rpc.server import MAX_MESSAGE_BYTES
from windtunnel.service.protobuf_values import artifact_from_proto, failure_to_proto, farm_properties_of, message_of
from windtunnel.service.run_inputs import temporary_folder
from windtunnel.service.runtime import Runtime
from windtunnel.v1 import events_pb2, log_parser_pb2, log_parser_pb2_grpc, types_pb2

MAX_REQUEST_LOG_BYTES: Final = 4 * 1024**2


class LogParserService(log_parser_pb2_grpc.LogParserServiceServicer):
    """Reads benchmark logs on request and on `device_run.finished`.

    Args:
        runtime: what the service has to work with.
        versions: of the tools, by name.
    """

    def __init__(self, runtime: Runtime[LogParserSettings], *, versions: Mapping[str, str]) -> None:
        self._runtime = runtime
        self._versions = versions

    async def Parse(  # noqa: N802 - named by the contract
        self, request: log_parser_pb2.ParseRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> log_parser_pb2.ParseResponse:
        """Implements `LogParserService.Parse` of the contract."""
        return await self._parsed(request)

    async def on_device_run_finished(self, event: Event) -> None:
        """Handles `device_run.finished`: publishes `device_run.measured`.

        Args:
            event: as received.
        """
        message = event.message()
        assert isinstance(message, events_pb2.DeviceRunFinished)
        measured = events_pb2.DeviceRunMeasured(
            run=message.run,
            cell=message.cell,
            attempt=message.attempt,
            measurement=_with_facts(await self._measure(message), message),
            device=message.device,
            farm_run=message.farm_run if message.HasField("farm_run") else None,
            reused=message.reused,
            repeat=message.repeat,
            of_baseline=message.of_baseline,
        )
        parts = (message.cell.id, str(message.attempt), *_repeat(message))
        await self._runtime.publisher.publish(measured, run_id=message.run.run_id, parts=parts)

    async def on_failure(self, event: Event, error: WindtunnelError) -> None:
        """Publishes that the attempt gave no measurement.

        Args:
            event: that was given up.
            error: why.
        """
        if isinstance(error, Malformed):
            # Which cell it is about cannot be known; the message is a dead letter.
            return
        message = event.message()
        assert isinstance(message, events_pb2.DeviceRunFinished)
        failed = events_pb2.DeviceRunFailed(
            run=message.run,
            cell=message.cell,
            attempt=message.attempt,
            failure=_failure(error, self._runtime.name),
            farm_run=message.farm_run if message.HasField("farm_run") else None,
            log=message.log,
            repeat=message.repeat,
            of_baseline=message.of_baseline,
        )
        # The farm dispatcher says the same of attempts that gave no log: the last part distinguishes the two.
        parts = (message.cell.id, str(message.attempt), "measure", *_repeat(message))
        await self._runtime.publisher.publish(failed, run_id=message.run.run_id, parts=parts)

    async def _measure(self, message: events_pb2.DeviceRunFinished) -> types_pb2.Measurement:
        log = artifact_from_proto(message.log)
        samples = artifact_from_proto(message.samples) if message.samples.sha256 else None
        times_count = farm_properties_of(message.cell).times_count

        async def compute() -> types_pb2.Measurement:
            texts = await self._read(log), await self._read(samples) if samples else None
            return measurement_to_proto(await asyncio.to_thread(judge_run, *texts, times_count=times_count))

        inputs = {"log": log.sha256, "samples": samples.sha256 if samples else None, "times_count": times_count}
        key = job_key("measure", inputs, self._versions)
        return await self._runtime.jobs.once(key, types_pb2.Measurement, compute)

    async def _read(self, ref: ArtifactRef) -> bytes:
        return await self._runtime.artifacts.read_bytes(ref.sha256, limit=self._runtime.settings.max_log_bytes)

    async def _parsed(self, request: log_parser_pb2.ParseRequest) -> log_parser_pb2.ParseResponse:
        if request.WhichOneof("source") == "log":
            if len(request.log) > MAX_REQUEST_LOG_BYTES:
                raise _too_large(len(request.log), MAX_REQUEST_LOG_BYTES, "give a log of this size by log_uri")
            log = await asyncio.to_thread(parse_log, request.log)
            return _response(log.runs, log.to_json())
        if not request.log_uri:
            raise InvalidInput("the request has no log", hint="give log or log_uri")
        limit = self._runtime.settings.max_log_bytes
        async with temporary_folder("windtunnel-parse-") as folder:
            path = await self._runtime.sources.open(request.log_uri, into=folder)
            if path.is_file() and path.stat().st_size > limit:
                raise _too_large(path.stat().st_size, limit, "raise WINDTUNNEL_MAX_LOG_BYTES")
            results = await asyncio.to_thread(read_results, path)
            return _response([one.run for one in results.runs], results.to_json())


def _failure(error: WindtunnelError, service: str) -> types_pb2.Failure:
    """Why there is no measurement. The farm has run the cell: a log without figures is the fault of what ran there."""
    failure = failure_to_proto(error, service)
    kind = FailureKind.TEST if isinstance(error, InvalidInput) else FailureKind.OTHER
    failure.kind = FAILURE_KIND.number(kind)
    return failure


def _response(runs: Sequence[RunLog], document: dict[str, Any]) -> log_parser_pb2.ParseResponse:
    response = log_parser_pb2.ParseResponse(
        measurements=[measurement_to_proto(measure(run, None)) for run in runs],
        log_json=json.dumps(document, allow_nan=False),
    )
    if response.ByteSize() > MAX_MESSAGE_BYTES:
        raise _too_large(response.ByteSize(), MAX_MESSAGE_BYTES, "what is read from it does not fit into an answer")
    return response


def _repeat(run: events_pb2.DeviceRunFinished) -> tuple[str, ...]:
    """What distinguishes the events of a repeat from those of the cell's own measurement."""
    return (f"repeat {run.repeat}", "baseline" if run.of_baseline else "candidate") if run.repeat else ()


def _with_facts(measurement: types_pb2.Measurement, run: events_pb2.DeviceRunFinished) -> types_pb2.Measurement:
    """The measurement with what its farm knows of the run, which no log says."""
    found = types_pb2.Measurement()
    found.CopyFrom(measurement)
    found.input_shapes.extend(run.input_shapes)
    if run.HasField("shapes_known"):
        found.shapes_known = run.shapes_known
    if run.HasField("conditions"):
        found.conditions.CopyFrom(run.conditions)
    if not found.HasField("nodes_total") and run.device.HasField("nodes_total"):
        found.nodes_total = run.device.nodes_total
        found.nodes_delegated = run.device.nodes_delegated
    return found


def _too_large(size: int, limit: int, hint: str) -> InvalidInput:
    return InvalidInput(f"the log is too large: {size} bytes, at most {limit} are taken", hint=hint)


def measurement_to_proto(measurement: Measurement) -> types_pb2.Measurement:
    """The figures on the wire.

    Args:
        measurement: of a device run.

    Returns:
        The message.

    Raises:
        InvalidInput: a count is one that no device has.
    """
    delegate = _that_ran(measurement)
    shown = delegate or measurement.delegate
    try:
        return types_pb2.Measurement(
            latency_ms=message_of(types_pb2.LatencyFigures, measurement.latency_ms),
            init_ms=measurement.init_ms,
            memory_mb=measurement.memory_mb,
            delegate=delegate.name if delegate else "",
            nodes_delegated=shown.nodes_delegated if shown else None,
            nodes_total=shown.nodes_total if shown else None,
            partitions=shown.partitions if shown else None,
        )
    except ValueError as error:
        raise InvalidInput(f"the log states a figure that cannot be: {error}") from error


def _that_ran(measurement: Measurement) -> Delegate | None:
    """The delegate that took part: the requested one, or the first other one that did not fail."""
    candidates = (measurement.delegate, *measurement.other_delegates)
    return next((one for one in candidates if one is not None and one.outcome not in ("failed", "none")), None)
