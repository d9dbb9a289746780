"""`python -m windtunnel.app_builder`: the app builder as a process."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from windtunnel.app_builder.adapters.ios.provisioning import IosSigner
from windtunnel.app_builder.adapters.keyfile import load_key, password_in
from windtunnel.app_builder.service import AppBuilderService
from windtunnel.app_builder.settings import AppBuilderSettings
from windtunnel.artifacts import SourceReader
from windtunnel.bus import subjects
from windtunnel.catalog import Catalog, read_catalog
from windtunnel.service import runtime
from windtunnel.service.runtime import Parts, Runtime
from windtunnel.v1 import app_builder_pb2, app_builder_pb2_grpc

PACKAGE = "windtunnel-app-builder"
# Not `app_builder`: that one, of older versions, is of `variant.ready`.
_CONSUMER = "app_builder_cells"


async def build(rt: Runtime[AppBuilderSettings]) -> Parts:
    """Makes the app builder's parts.

    Args:
        rt: what the service has to work with.

    Returns:
        Servicers, workers and what to close.
    """
    settings = rt.settings
    catalog = read_catalog(settings.catalog_path) if settings.catalog_path else Catalog()
    service = AppBuilderService(
        rt,
        key=(
            load_key(Path(settings.android_signing_key), Path(settings.android_signing_cert))
            if settings.android_signing_key
            else None
        ),
        ios=_ios_signer(settings),
        base_apps=_base_apps(rt),
        catalog=catalog,
        versions={PACKAGE: importlib.metadata.version(PACKAGE)},
    )
    return Parts(
        servicers=[
            (
                app_builder_pb2.DESCRIPTOR.services_by_name["AppBuilderService"].full_name,
                lambda server: app_builder_pb2_grpc.add_AppBuilderServiceServicer_to_server(service, server),
            )
        ],
        # The consumer `app_builder` of older versions was of `variant.ready`.
        workers=[
            rt.worker("app_builder_cells", [subjects.CELLS_PLANNED], service.on_cells_planned, service.on_failure)
        ],
    )


def _base_apps(rt: Runtime[AppBuilderSettings]) -> SourceReader:
    """Reads base apps. The operator chose their places, so a file needs no allowed folder, and a host no permission."""
    settings = rt.settings
    places = [urlsplit(uri) for uri in (settings.android_base_app, settings.ios_base_app)]
    roots = tuple(Path(unquote(parts.path)).resolve().parent for parts in places if parts.scheme == "file")
    hosts = tuple(parts.netloc for parts in places if parts.scheme == "https")
    return SourceReader(rt.artifacts, roots, settings.max_source_bytes, https_hosts=hosts)


def _ios_signer(settings: AppBuilderSettings) -> IosSigner | None:
    """Who signs IPAs; None: nobody.

    Raises:
        InvalidInput: a file cannot be used.
    """
    if not settings.ios_p12:
        return None
    return IosSigner.load(
        Path(settings.ios_p12), password_in(settings.ios_p12_password_file), Path(settings.ios_profile)
    )


if __name__ == "__main__":
    runtime.main("app_builder", AppBuilderSettings, build)
