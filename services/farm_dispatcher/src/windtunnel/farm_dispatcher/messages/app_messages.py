"""The apps that an `app.built` names."""

from __future__ import annotations

from typing import cast

from windtunnel.artifacts import ArtifactRef
from windtunnel.enum_words import APP_KIND, PLATFORM
from windtunnel.farm_dispatcher.domain.jobs import App, AppKind
from windtunnel.service.protobuf_values import artifact_from_proto
from windtunnel.v1 import events_pb2, types_pb2


def apps_in(message: events_pb2.AppBuilt) -> tuple[App, ...]:
    """The apps that hold a variant.

    Args:
        message: of an app builder. One of an older version names a package alone: that of a game loop.

    Returns:
        Those that could be built.
    """
    platform = PLATFORM.read(message.device_platform, message.platform)
    if not message.apps:
        return (App(artifact_from_proto(message.package), platform),)
    return tuple(_app(one, platform) for one in message.apps if one.package.sha256)


def problems_in(message: events_pb2.AppBuilt) -> dict[str, str]:
    """Why apps of some kinds could not be built.

    Args:
        message: of an app builder.

    Returns:
        Words for people, by kind.
    """
    return {APP_KIND.read(one.kind, ""): one.failure.message for one in message.apps if one.HasField("failure")}


def _app(message: types_pb2.BuiltApp, platform: str) -> App:
    return App(
        package=artifact_from_proto(message.package),
        platform=platform,
        kind=cast(AppKind, APP_KIND.read(message.kind, "game_loop")),
        package_name=message.package_name,
        test_package=_optional(message.test_package),
    )


def _optional(message: types_pb2.Artifact) -> ArtifactRef | None:
    return artifact_from_proto(message) if message.sha256 else None
