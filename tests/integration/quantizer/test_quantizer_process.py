"""The quantizer as a process on a real nats-server: killed in the middle, another one continues."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from support.graphs import dense_model
from support.nats import NatsServer
from support.service_process import ServiceProcess
from support.service_runtime import Listener, run_context, settings_in
from windtunnel.bus import subjects
from windtunnel.bus.nats.jetstream import connect
from windtunnel.plan import BUILTIN_VARIANTS, DataSet, Plan, VariantSpec
from windtunnel.service.protobuf_values import artifact_to_proto, facts_to_proto
from windtunnel.service.runtime import runtime_on
from windtunnel.service.settings import ServiceSettings
from windtunnel.tflite import read_model
from windtunnel.v1 import events_pb2


async def test_kill_in_the_middle_loses_and_doubles_nothing(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    server.start()
    home = tmp_path / "home"
    service = ServiceProcess("quantizer", home, server.url, ack_wait_s="1")
    try:
        bus = await connect(server.url, wait_s=10)
        runtime = await runtime_on(bus, "test", settings_in(home, ServiceSettings))
        np.savez(tmp_path / "c.npz", x=np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32))
        calibration = await runtime.artifacts.put_file(tmp_path / "c.npz")
        model = dense_model(tmp_path / "m.tflite")
        plan = Plan(data=DataSet(calibration=calibration.uri), variants=tuple(map(VariantSpec, BUILTIN_VARIANTS)))
        message = events_pb2.ModelConverted(
            run=await run_context(runtime, "run-1", plan),
            model=artifact_to_proto(await runtime.artifacts.put_file(model)),
            facts=facts_to_proto(read_model(model)),
        )
        await runtime.publisher.publish(message, run_id="run-1")
        listener = Listener(bus)
        topics = [subjects.VARIANT_READY, subjects.VARIANT_FAILED]
        await listener.collect(lambda heard: len(heard) >= 2, topics=topics)
        service.kill()
        service = ServiceProcess("quantizer", home, server.url, ack_wait_s="1")
        await listener.collect(lambda heard: len(heard) >= len(BUILTIN_VARIANTS), topics=topics)
        assert service.stop() == 0
        await bus.close()
    finally:
        service.kill()
        server.stop()
    names = [m.variant.name for _, m in listener.events if isinstance(m, events_pb2.VariantReady)]
    assert names == list(BUILTIN_VARIANTS)
    assert len({id for id, _ in listener.events}) == len(listener.events)
