"""`python -m windtunnel.quantizer`: the quantizer as a process."""

from __future__ import annotations

from windtunnel.bus import subjects
from windtunnel.diagnosis.quantize.make_variant import tool_versions
from windtunnel.isolation import ChildPool
from windtunnel.quantizer.service import QuantizerService
from windtunnel.quantizer.settings import QuantizerSettings
from windtunnel.service import runtime
from windtunnel.service.runtime import Parts, Runtime
from windtunnel.v1 import quantizer_pb2, quantizer_pb2_grpc


async def build(rt: Runtime[QuantizerSettings]) -> Parts:
    """Makes the quantizer's parts.

    Args:
        rt: what the service has to work with.

    Returns:
        Servicers, workers and what to close.
    """
    settings = rt.settings
    pool = ChildPool(
        lazy=True,
        preload=("windtunnel.diagnosis.quantize.litert_quantizer",),
        size=settings.slots,
        timeout_s=settings.job_timeout_s,
        memory_mb=settings.job_memory_mb,
    )
    service = QuantizerService(rt, pool, versions=tool_versions())
    parts = Parts(
        servicers=[
            (
                quantizer_pb2.DESCRIPTOR.services_by_name["QuantizerService"].full_name,
                lambda server: quantizer_pb2_grpc.add_QuantizerServiceServicer_to_server(service, server),
            )
        ],
        workers=[rt.worker("quantizer", [subjects.MODEL_CONVERTED], service.on_model_converted, service.on_failure)],
    )
    await parts.resources.enter_async_context(pool)
    return parts


if __name__ == "__main__":
    runtime.main("quantizer", QuantizerSettings, build)
