"""The farms of Google, opened on their peers, and the jobs that they take."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from support.base_apk import apk_bytes
from support.farm_jobs import FolderFiles, cell_on
from support.farm_peers.google.android_app import GRAPH
from support.farm_peers.google.benchmark_program import write_program
from support.farm_peers.google.fake_gcloud import FakeGcloud
from support.farm_peers.google.lab import Lab
from support.farm_peers.google.server import GooglePeer, google_peer
from support.farm_peers.google.virtual_clock import VirtualClock
from windtunnel.artifacts import ArtifactRef
from windtunnel.farm_dispatcher.adapters.farm_registry import FARMS
from windtunnel.farm_dispatcher.domain.device_runs import Collected, Phase, Polled, Submitted
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.farm_settings import DdpSettings, Endpoints, FirebaseSettings, PollSeconds
from windtunnel.farm_dispatcher.domain.jobs import AppJob, Entry, ExecutableJob, FarmRunRequest, PushedFile
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings

PROJECT, BUCKET = "my-project", "my-bucket"
POLL = PollSeconds(0.01, 0.02)
_PRICES = {"physical": Decimal("0.0834"), "virtual": Decimal("0.0167")}
_LONGEST_S = 60.0


@dataclass
class OpenFarm:
    """A farm, its peers, and files for its jobs."""

    farm: Farm
    peer: GooglePeer
    home: Path
    gcloud: FakeGcloud | None = None
    files: FolderFiles = field(default_factory=FolderFiles)

    def add(self, name: str, data: bytes) -> ArtifactRef:
        """Makes an artifact."""
        path = self.home / hashlib.sha256(data).hexdigest()[:8] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.files.add(path)

    def app(self, model: bytes, scenario: int = 4, package: bytes | None = None, **changes: Any) -> AppJob:
        """A game loop with a pushed model."""
        blob = self.add("model.tflite", model)
        app = self.add("app.apk", apk_bytes() if package is None else package)
        given: dict[str, Any] = {
            "package": app, "platform": "android", "kind": "game_loop", "package_name": "org.example",
            "model_sha256": blob.sha256, "scenarios": (scenario,), "files": (PushedFile(blob, GRAPH),),
            "timeout_s": 120.0,
        }  # fmt: skip
        return AppJob(**{**given, **changes})

    def executable(self, model: bytes, *arguments: str, **changes: Any) -> ExecutableJob:
        """The benchmark program with a model."""
        blob, path = self.add("model.tflite", model), self.home / "benchmark_model"
        program = self.files.add(write_program(path))
        graph = f"/data/local/tmp/windtunnel/{blob.sha256[:8]}/model.tflite"
        given: dict[str, Any] = {
            "binary": PushedFile(program, "/data/local/tmp/windtunnel/bin/benchmark_model"),
            "arguments": (f"--graph={graph}", *(arguments or ("--num_threads=1", "--use_xnnpack=true"))),
            "timeout_s": 30.0,
        }
        return ExecutableJob(PushedFile(blob, graph), **{**given, **changes})

    async def device(self, name: str) -> Device:
        """A device by its name."""
        return next(device for device in await self.farm.devices() if device.name == name)

    async def request(self, device: str, *jobs: AppJob | ExecutableJob, key: str = "wt-1") -> FarmRunRequest:
        """A farm run of these jobs on a device."""
        found = await self.device(device)
        entries = [Entry(f"cell-{number}", cell_on(found, id=f"c-{number}"), job) for number, job in enumerate(jobs)]
        return FarmRunRequest(key, found, tuple(entries), 600.0)

    def advance(self, seconds: float) -> None:
        """Lets virtual time pass."""
        self.peer.lab.clock.advance(seconds)
        if self.gcloud is not None:
            self.gcloud.advance(seconds)

    async def ended(self, submitted: Submitted, step_s: float = 5.0) -> list[Polled]:
        """Polls until the end; time passes with each question. Returns all answers."""
        seen: list[Polled] = []
        async with asyncio.timeout(_LONGEST_S):
            while not seen or seen[-1].phase is not Phase.ENDED:
                seen.append(await self.farm.poll(submitted))
                self.advance(step_s)
        return seen

    async def run(self, request: FarmRunRequest) -> Collected:
        """Submits, waits, collects."""
        submitted = await self.farm.submit(request, self.files)
        await self.ended(submitted)
        return await self.collect(submitted, request)

    async def collect(self, submitted: Submitted, request: FarmRunRequest) -> Collected:
        """Collects into a fresh folder."""
        into = self.home / f"results-{len(list(self.home.iterdir()))}"
        into.mkdir()
        return await self.farm.collect(submitted, request, into)


@asynccontextmanager
async def open_google_farm(
    kind: str, home: Path, *, time_passes: bool = False, **changes: Any
) -> AsyncIterator[OpenFarm]:
    """Opens `firebase` or `ddp` on peers of its own. `time_passes`: by itself, a thousand times as fast."""
    host = FarmDispatcherSettings.model_validate({"home": home / "home"})
    with google_peer(BUCKET, lab=Lab(VirtualClock(1000.0 if time_passes else 0.0))) as peer:
        endpoints = Endpoints(peer.url, peer.url, peer.url)
        given: dict[str, Any] = {
            "name": kind, "project": PROJECT, "results": f"gs://{BUCKET}/windtunnel", "endpoints": endpoints,
            "price_per_minute_usd": _PRICES, "poll_seconds": POLL, "entries": 8,
        }  # fmt: skip
        gcloud = FakeGcloud(home / "gcloud", peer.url, BUCKET) if kind == "ddp" else None
        if gcloud is not None and time_passes:
            gcloud.advance_per_call(20.0)
        settings: FirebaseSettings | DdpSettings
        if gcloud is None:
            settings = FirebaseSettings(**{**given, **changes})
        else:
            settings = DdpSettings(**{**given, "gcloud": str(gcloud.executable), **changes})
        async with FARMS[kind](settings, host) as farm:
            yield OpenFarm(farm, peer, home, gcloud)


def kinds_of(collected: Collected) -> Sequence[str]:
    """The kinds of failure of all entries; empty for a run."""
    return [result.failure.kind.value if result.failure is not None else "" for result in collected.results]


def received_models(peer: GooglePeer) -> Mapping[str, str]:
    """SHA-256 of the model that each matrix ran, as it reached the phone."""
    return {received.matrix: received.model for received in peer.lab.received}
