"""`python -m windtunnel.converter`: the converter as a process."""

from __future__ import annotations

from windtunnel.bus import subjects
from windtunnel.converter.service import ConverterService
from windtunnel.converter.settings import ConverterSettings
from windtunnel.converter.use_cases.convert_model import tool_versions
from windtunnel.isolation import ChildPool
from windtunnel.service import runtime
from windtunnel.service.runtime import Parts, Runtime
from windtunnel.v1 import converter_pb2, converter_pb2_grpc


async def build(rt: Runtime[ConverterSettings]) -> Parts:
    """Makes the converter's parts.

    Args:
        rt: what the service has to work with.

    Returns:
        Servicers, workers and what to close.
    """
    settings = rt.settings
    pool = ChildPool(
        lazy=True,
        preload=("windtunnel.converter.adapters.tensorflow_convert", "windtunnel.converter.use_cases.check_conversion"),
        size=settings.slots,
        timeout_s=settings.job_timeout_s,
        memory_mb=settings.job_memory_mb,
        env={"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"},
    )
    service = ConverterService(
        rt,
        pool,
        runs=await rt.bus.bucket(subjects.RUNS_BUCKET),
        plans=await rt.bus.bucket(subjects.PLANS_BUCKET),
        versions=tool_versions(),
    )
    parts = Parts(
        servicers=[
            (
                converter_pb2.DESCRIPTOR.services_by_name["ConverterService"].full_name,
                lambda server: converter_pb2_grpc.add_ConverterServiceServicer_to_server(service, server),
            )
        ],
        workers=[
            rt.worker(
                "converter",
                [subjects.MODEL_TRAINED],
                service.on_model_trained,
                service.on_failure,
                # Whoever trains may send anything, and an announcement belongs to a run whatever its data.
                report_malformed=True,
            )
        ],
    )
    await parts.resources.enter_async_context(pool)
    return parts


if __name__ == "__main__":
    runtime.main("converter", ConverterSettings, build)
