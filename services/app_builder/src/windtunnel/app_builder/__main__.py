"""`python -m windtunnel.app_builder`: the app builder as a process."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from windtunnel.app_builder.adapters.keys.keyfile import load_key
from windtunnel.app_builder.service import AppBuilderService
from windtunnel.app_builder.settings import AppBuilderSettings
from windtunnel.artifacts import SourceReader
from windtunnel.bus import subjects
from windtunnel.service import runtime
from windtunnel.service.runtime import Parts, Runtime
from windtunnel.v1 import app_builder_pb2, app_builder_pb2_grpc

PACKAGE = "windtunnel-app-builder"


async def build(rt: Runtime[AppBuilderSettings]) -> Parts:
    """Makes the app builder's parts.

    Args:
        rt: what the service has to work with.

    Returns:
        Servicers, workers and what to close.
    """
    settings = rt.settings
    service = AppBuilderService(
        rt,
        key=(
            load_key(Path(settings.android_signing_key), Path(settings.android_signing_cert))
            if settings.android_signing_key
            else None
        ),
        base_apps=_base_apps(rt),
        versions={PACKAGE: importlib.metadata.version(PACKAGE)},
    )
    return Parts(
        servicers=[
            (
                app_builder_pb2.DESCRIPTOR.services_by_name["AppBuilderService"].full_name,
                lambda server: app_builder_pb2_grpc.add_AppBuilderServiceServicer_to_server(service, server),
            )
        ],
        workers=[rt.worker("app_builder", [subjects.VARIANT_READY], service.on_variant_ready, service.on_failure)],
    )


def _base_apps(rt: Runtime[AppBuilderSettings]) -> SourceReader:
    """Reads the base app. The operator chose its place, so a file needs no allowed folder, and a host no permission."""
    settings = rt.settings
    parts = urlsplit(settings.android_base_app)
    roots = (Path(unquote(parts.path)).resolve().parent,) if parts.scheme == "file" else ()
    hosts = (parts.netloc,) if parts.scheme == "https" else ()
    return SourceReader(rt.artifacts, roots, settings.max_source_bytes, https_hosts=hosts)


if __name__ == "__main__":
    runtime.main("app_builder", AppBuilderSettings, build)
