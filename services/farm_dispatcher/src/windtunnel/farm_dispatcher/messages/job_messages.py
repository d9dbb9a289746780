"""Between jobs and their protobuf messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from windtunnel.artifacts import ArtifactRef
from windtunnel.enum_words import APP_KIND, PLATFORM
from windtunnel.farm_dispatcher.domain.jobs import AppJob, AppKind, ExecutableJob, Job, PushedFile
from windtunnel.farm_dispatcher.messages.timestamps import from_duration, to_duration
from windtunnel.service.protobuf_values import artifact_from_proto, artifact_to_proto
from windtunnel.v1 import farm_runs_pb2, types_pb2


def job_to_proto(job: Job) -> farm_runs_pb2.Job:
    """A job on the wire.

    Args:
        job: of a cell.

    Returns:
        The message.
    """
    if isinstance(job, ExecutableJob):
        return farm_runs_pb2.Job(executable=_executable_to_proto(job))
    return farm_runs_pb2.Job(app=_app_to_proto(job))


def job_from_proto(message: farm_runs_pb2.Job) -> Job:
    """A job from the wire.

    Args:
        message: of it.

    Returns:
        The job.
    """
    return _app_from_proto(message.app) if message.HasField("app") else _executable_from_proto(message.executable)


def _executable_to_proto(job: ExecutableJob) -> farm_runs_pb2.ExecutableJob:
    return farm_runs_pb2.ExecutableJob(
        model=_file_to_proto(job.model),
        binary=None if job.binary is None else _file_to_proto(job.binary),
        arguments=job.arguments,
        environment=job.environment,
        files=[_file_to_proto(file) for file in job.files],
        pull=job.pull,
        timeout=to_duration(job.timeout_s),
    )


def _executable_from_proto(message: farm_runs_pb2.ExecutableJob) -> ExecutableJob:
    return ExecutableJob(
        model=_file_from_proto(message.model),
        binary=_file_from_proto(message.binary) if message.HasField("binary") else None,
        arguments=tuple(message.arguments),
        environment=dict(message.environment),
        files=_files_from_proto(message.files),
        pull=tuple(message.pull),
        timeout_s=from_duration(message.timeout),
    )


def _app_to_proto(job: AppJob) -> farm_runs_pb2.AppJob:
    return farm_runs_pb2.AppJob(
        package=artifact_to_proto(job.package),
        platform=PLATFORM.number(job.platform),
        kind=APP_KIND.number(job.kind),
        package_name=job.package_name,
        model_sha256=job.model_sha256,
        scenarios=job.scenarios,
        arguments=job.arguments,
        files=[_file_to_proto(file) for file in job.files],
        pull=job.pull,
        timeout=to_duration(job.timeout_s),
        test_package=artifact_to_proto(job.test_package),
    )


def _app_from_proto(message: farm_runs_pb2.AppJob) -> AppJob:
    return AppJob(
        package=artifact_from_proto(message.package),
        platform=PLATFORM.read(message.platform, ""),
        kind=cast(AppKind, APP_KIND.read(message.kind, "")),
        package_name=message.package_name,
        model_sha256=message.model_sha256,
        scenarios=tuple(message.scenarios),
        arguments=dict(message.arguments),
        files=_files_from_proto(message.files),
        pull=tuple(message.pull),
        timeout_s=from_duration(message.timeout),
        test_package=_optional(message.test_package),
    )


def _optional(message: types_pb2.Artifact) -> ArtifactRef | None:
    return artifact_from_proto(message) if message.sha256 else None


def _file_to_proto(file: PushedFile) -> farm_runs_pb2.PushedFile:
    return farm_runs_pb2.PushedFile(blob=artifact_to_proto(file.blob), target=file.target)


def _file_from_proto(message: farm_runs_pb2.PushedFile) -> PushedFile:
    return PushedFile(artifact_from_proto(message.blob), message.target)


def _files_from_proto(messages: Iterable[farm_runs_pb2.PushedFile]) -> tuple[PushedFile, ...]:
    return tuple(map(_file_from_proto, messages))
