"""Running a service: one asyncio loop with its gRPC server, its bus workers, health and metrics.

A service's `__main__.py` says what it is made of; what all services do the same way is here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from wsgiref.simple_server import WSGIServer

import grpc
from prometheus_client import start_http_server

from windtunnel.artifacts import Artifacts, SourceReader, open_store
from windtunnel.artifacts.stores.port import AccessDenied
from windtunnel.bus import Bus, Jobs, Policy, Worker, subjects
from windtunnel.bus.nats.jetstream import StreamLimits, connect
from windtunnel.bus.publisher import Publisher
from windtunnel.bus.worker import FailureHandler, Handler
from windtunnel.errors import InvalidInput, NotFound, Unavailable, WindtunnelError
from windtunnel.rpc import RpcServer
from windtunnel.service import settings as settings_module
from windtunnel.service.cancellation import Cancellations
from windtunnel.service.settings import InvalidSetting, ServiceSettings
from windtunnel.telemetry import configure_logging

log = logging.getLogger(__name__)

_STORE_PAUSE_S = 5.0
# A store that is there answers within this time; the ready line waits for it no longer.
_MOMENT_S = 2.0
# A key that may not look at the bucket may still be right: that is logged, and not too often.
_DOUBT_PAUSE_S = 60.0
# No artifact has this hash.
_NOBODY = "0" * 64

S = TypeVar("S", bound=ServiceSettings)
T = TypeVar("T")


@dataclass(frozen=True)
class Runtime(Generic[S]):
    """What a service is given to work with."""

    name: str
    settings: S
    bus: Bus
    artifacts: Artifacts
    sources: SourceReader
    jobs: Jobs
    publisher: Publisher
    canceled: Cancellations

    def worker(
        self,
        durable: str,
        topics: Sequence[str],
        handle: Handler,
        on_failure: FailureHandler,
        *,
        slots: int | None = None,
        report_malformed: bool = False,
        skip_canceled: bool = True,
    ) -> Worker:
        """A worker with this service's policy.

        Args:
            durable: name of the consumer.
            topics: subjects of its events.
            handle: does the work of one event.
            on_failure: called for each event that is given up.
            slots: how many events are handled at once; None: as the settings say.
            report_malformed: call `on_failure` also for an event that nobody can read.
            skip_canceled: do not work for canceled runs.

        Returns:
            The worker, not yet running.
        """
        policy = Policy(
            ack_wait_s=self.settings.ack_wait_s, attempts=self.settings.attempts, drain_s=self.settings.drain_s
        )
        return Worker(
            self.bus,
            durable,
            topics,
            handle,
            on_failure=on_failure,
            slots=slots or self.settings.slots,
            policy=policy,
            report_malformed=report_malformed,
            is_canceled=self.canceled.covers if skip_canceled else None,
        )


@dataclass(frozen=True)
class Parts:
    """What a service is made of."""

    # Full gRPC service name, and what registers the servicer on a server.
    servicers: Sequence[tuple[str, Callable[[grpc.aio.Server], None]]]
    workers: Sequence[Worker] = ()
    # Ends with the service; started with it: loops of its own, for example an outbox.
    tasks: Sequence[Callable[[], Awaitable[None]]] = ()
    # Closed after everything else has ended.
    resources: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)


Build = Callable[[Runtime[S]], Awaitable[Parts]]


def main(name: str, settings_type: type[S], build: Build[S]) -> None:
    """Runs the service until SIGTERM or SIGINT. Exit codes: 0, 64 for bad settings, 2 if it could not run.

    Args:
        name: of the service.
        settings_type: read from the environment.
        build: makes the service of what the runtime gives.
    """
    try:
        settings = settings_module.load(settings_type)
        configure_logging(name, settings.log_level)
        asyncio.run(_serve(name, settings, build))
    except WindtunnelError as error:
        if not isinstance(error, InvalidSetting):
            log.error("the service ends: %s", error)
        print(f"windtunnel.{name}: {error}", file=sys.stderr)
        sys.exit(64 if isinstance(error, InvalidSetting) else 2)
    except Exception as error:
        log.exception("the service failed")
        print(f"windtunnel.{name}: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)


async def _serve(name: str, settings: S, build: Build[S]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        started = await _unless(stop, _start(stack, name, settings, build))
        if started is not None:
            await _run(*started, stop)
            return
    # A thread that waits for a database cannot be canceled, and `asyncio.run` would wait for it.
    logging.shutdown()
    os._exit(0)


async def _start(stack: contextlib.AsyncExitStack, name: str, settings: S, build: Build[S]) -> tuple[Runtime[S], Parts]:
    limits = StreamLimits(replicas=settings.nats_replicas, max_bytes=settings.nats_max_bytes)
    async with _not_serving_yet(settings):
        bus = await connect(settings.nats_url, name=f"windtunnel-{name}", limits=limits)
        stack.push_async_callback(bus.close)
        runtime = await runtime_on(bus, name, settings)
        parts = await build(runtime)
    await stack.enter_async_context(parts.resources)
    return runtime, parts


@contextlib.asynccontextmanager
async def _not_serving_yet(settings: ServiceSettings) -> AsyncIterator[None]:
    """While the service waits for NATS or its database, its health is NOT_SERVING, if its port is known."""
    if not settings.grpc_port:
        yield
        return
    server = RpcServer(())
    await server.start(settings.host, settings.grpc_port)
    try:
        yield
    finally:
        await server.stop(0)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns; None where `stop` was set first: what waits for NATS must not wait for SIGKILL."""
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, stopped):
            task.cancel()
        # A client that is connecting may swallow its cancellation: it has a second, no more.
        await asyncio.wait((working, stopped), timeout=1)


async def runtime_on(bus: Bus, name: str, settings: S) -> Runtime[S]:
    """What a service has to work with.

    Args:
        bus: connected.
        name: of the service.
        settings: of the service.

    Returns:
        The runtime.

    Raises:
        InvalidInput: its folder cannot be used.
    """
    try:
        settings.home_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"folder {settings.home_folder} cannot be used: {error.strerror}",
            hint="set WINDTUNNEL_HOME to a folder that can be written",
        ) from error
    artifacts = open_store(settings.artifact_store, cache=settings.home_folder / "cache")
    return Runtime(
        name=name,
        settings=settings,
        bus=bus,
        artifacts=artifacts,
        sources=SourceReader(
            artifacts, settings.allowed_roots, settings.max_source_bytes, https_hosts=settings.allowed_hosts
        ),
        jobs=Jobs(await bus.bucket(subjects.RESULTS_BUCKET)),
        publisher=Publisher(bus, name, json_events=settings.json_events),
        canceled=Cancellations(await bus.bucket(subjects.CANCELED_BUCKET)),
    )


async def _run(runtime: Runtime[S], parts: Parts, stop: asyncio.Event) -> None:
    settings = runtime.settings
    metrics = _serve_metrics(settings.host, settings.metrics_port)
    server = RpcServer(parts.servicers)
    await server.start(settings.host, settings.grpc_port)
    store = asyncio.Event()
    workers = [asyncio.create_task(_work(worker, store)) for worker in parts.workers]
    others = [asyncio.create_task(_watch_health(server, runtime.bus, store))]
    others += [asyncio.create_task(_check_store(runtime.artifacts, store))]
    others += [asyncio.create_task(_loop(task)) for task in parts.tasks]
    stopped, usable = asyncio.create_task(stop.wait()), asyncio.create_task(store.wait())
    try:
        # Whoever reads the ready line may ask at once: a store that is there has answered by then.
        await asyncio.wait((stopped, usable, *others), timeout=_MOMENT_S, return_when=asyncio.FIRST_COMPLETED)
        await server.set_serving(runtime.bus.connected and store.is_set())
        _announce(runtime.name, settings, server.port, metrics.server_port)
        # A loop of the service that ends by itself is a fault: end the process, so that the supervisor sees it.
        await asyncio.wait((stopped, *workers, *others), return_when=asyncio.FIRST_COMPLETED)
        log.info("draining")
        await server.set_serving(False)
        for worker in parts.workers:
            worker.drain()
        # A worker that drains takes nothing, and ends at once where it has not begun.
        store.set()
        await asyncio.gather(server.stop(settings.drain_s), *workers)
    finally:
        for task in (stopped, usable, *others):
            task.cancel()
        results = await asyncio.gather(stopped, usable, *others, return_exceptions=True)
        metrics.shutdown()
    for result in results:
        if isinstance(result, Exception):
            raise result


def _serve_metrics(host: str, port: int) -> WSGIServer:
    try:
        return start_http_server(port, host)[0]
    except OSError as error:
        raise InvalidInput(f"cannot listen on {host}:{port}: {error}", hint="set WINDTUNNEL_METRICS_PORT") from error


async def _loop(task: Callable[[], Awaitable[None]]) -> None:
    await task()


async def _work(worker: Worker, store: asyncio.Event) -> None:
    """Works once the artifact store can be used: without it every message would lose an attempt."""
    await store.wait()
    await worker.run()


async def _watch_health(server: RpcServer, bus: Bus, store: asyncio.Event) -> None:
    while True:
        await server.set_serving(bus.connected and store.is_set())
        if (fault := bus.fault) is not None:
            raise fault
        await asyncio.sleep(0.25)


async def _check_store(artifacts: Artifacts, usable: asyncio.Event) -> None:
    """Logs what is wrong with the artifact store before a run needs it; sets `usable` and waits once it answers.

    Raises:
        Unavailable: waiting does not help: no bucket, a wrong key.
    """
    while True:
        try:
            await artifacts.ping()
            usable.set()
            await asyncio.Event().wait()
        except Unavailable as error:
            if not error.retryable and not await _only_no_listing(artifacts):
                raise
            if not error.retryable:
                usable.set()
            log.warning("the artifact store cannot be used, trying again: %s", error)
            await asyncio.sleep(_STORE_PAUSE_S if error.retryable else _DOUBT_PAUSE_S)


async def _only_no_listing(artifacts: Artifacts) -> bool:
    """Whether the key may read and write artifacts, and only not look at the bucket itself.

    A bucket that may not be listed denies access to what is not there, whatever the key may do with the rest. Only
    the answer to reading says more than that something is denied.
    """
    try:
        await artifacts.read_bytes(_NOBODY)
    except NotFound:
        return True
    except Unavailable as error:
        return isinstance(error, AccessDenied)
    return True


def _announce(name: str, settings: ServiceSettings, grpc_port: int, metrics_port: int) -> None:
    ready = {
        "service": name,
        "grpc": f"{settings.host}:{grpc_port}",
        "metrics": f"http://{settings.host}:{metrics_port}/metrics",
    }
    print(json.dumps(ready), flush=True)
    log.info("ready on %s", ready["grpc"])
