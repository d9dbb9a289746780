"""`python -m windtunnel.layer_diff`: the layer diff as a process."""

from __future__ import annotations

import importlib.metadata

from windtunnel.bus import subjects
from windtunnel.isolation import ChildPool
from windtunnel.layer_diff.service import LayerDiffService
from windtunnel.layer_diff.settings import LayerDiffSettings
from windtunnel.service import runtime
from windtunnel.service.runtime import Parts, Runtime
from windtunnel.v1 import layer_diff_pb2, layer_diff_pb2_grpc

PACKAGES = ("windtunnel-layer-diff", "ai-edge-litert")


async def build(rt: Runtime[LayerDiffSettings]) -> Parts:
    """Makes the layer diff's parts.

    Args:
        rt: what the service has to work with.

    Returns:
        Servicers, workers and what to close.
    """
    settings = rt.settings
    pool = ChildPool(
        lazy=True,
        preload=("windtunnel.diagnosis.comparison.compare_models", "ai_edge_litert.interpreter"),
        size=settings.slots,
        timeout_s=settings.job_timeout_s,
        memory_mb=settings.job_memory_mb,
    )
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    service = LayerDiffService(rt, pool, versions=versions)
    parts = Parts(
        servicers=[
            (
                layer_diff_pb2.DESCRIPTOR.services_by_name["LayerDiffService"].full_name,
                lambda server: layer_diff_pb2_grpc.add_LayerDiffServiceServicer_to_server(service, server),
            )
        ],
        workers=[
            rt.worker("layer_diff", [subjects.VARIANT_READY], service.on_variant_ready, service.on_failure),
            rt.worker(
                "layer_diff_diagnose",
                [subjects.DEVICE_RUN_FINISHED],
                service.on_device_run_finished,
                service.on_diagnosis_failure,
            ),
        ],
    )
    await parts.resources.enter_async_context(pool)
    return parts


if __name__ == "__main__":
    runtime.main("layer_diff", LayerDiffSettings, build)
