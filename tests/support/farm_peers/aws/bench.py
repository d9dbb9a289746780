"""The adapter of AWS Device Farm with its peer, and what tests run on them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.farm_jobs import FolderFiles, cell_on
from support.farm_peers.aws.benchmark import printing_benchmark
from support.farm_peers.aws.server import AwsPeer
from windtunnel.artifacts import ArtifactRef
from windtunnel.farm_dispatcher.adapters.aws.aws_farm import AwsFarm
from windtunnel.farm_dispatcher.adapters.aws.client import DeviceFarmClient, open_client
from windtunnel.farm_dispatcher.domain.device_runs import Collected, Phase, Submitted
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm_settings import AwsSettings
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER, Entry, ExecutableJob, FarmRunRequest, PushedFile

TARGET = f"{DEVICE_FOLDER}/windtunnel"


@dataclass
class AwsBench:
    """A farm, its peer, and files. The farm's waits advance the peer's clock."""

    peer: AwsPeer
    folder: Path
    farm: AwsFarm
    client: DeviceFarmClient
    files: FolderFiles = field(default_factory=FolderFiles)

    @classmethod
    def make(cls, peer: AwsPeer, folder: Path) -> AwsBench:
        """Slow: boto3 reads its description."""
        folder.mkdir()
        client = new_client(peer)
        return cls(peer, folder, AwsFarm(client, settings(peer)), client)

    def close(self) -> None:
        self.client.close()

    def blob(self, content: bytes, name: str = "file") -> ArtifactRef:
        path = self.folder / f"{len(list(self.folder.iterdir()))}-{name}"
        path.write_bytes(content)
        return self.files.add(path)

    def benchmark(self) -> ArtifactRef:
        """The benchmark that prints."""
        return self.files.add(printing_benchmark(self.folder / "benchmark_model"))

    def job(self, model: bytes = b"model", binary: ArtifactRef | None = None, **changes: Any) -> ExecutableJob:
        """A job that runs a model by itself."""
        target = f"{TARGET}/model.tflite"
        made: dict[str, Any] = {
            "model": PushedFile(self.blob(model), target),
            "binary": PushedFile(binary or self.benchmark(), f"{TARGET}/benchmark_model"),
            "arguments": (f"--graph={target}", "--num_threads=1", "--use_xnnpack=true"),
            "timeout_s": 60.0,
        }
        return ExecutableJob(**{**made, **changes})

    async def device(self, name: str = "Google Pixel 8", os_version: str = "14") -> Device:
        found = [one for one in await self.farm.devices() if (one.name, one.os_version) == (name, os_version)]
        return found[0]

    async def request(self, *jobs: Any, key: str = "wt-1") -> FarmRunRequest:
        device = await self.device()
        entries = tuple(Entry(f"e{number}", cell_on(device), job) for number, job in enumerate(jobs))
        return FarmRunRequest(key, device, entries, 600.0)

    async def submit(self, request: FarmRunRequest) -> Submitted:
        return await self.farm.submit(request, self.files)

    async def wait(self, submitted: Submitted, step_s: float = 20.0, *, patient: bool = True) -> list[str]:
        """Time passes until the run has ended; the words that it said on the way. Not `patient`: commands may hang."""
        words: list[str] = []
        for _ in range(400):
            polled = await self.farm.poll(submitted)
            words += [polled.words] if words[-1:] != [polled.words] else []
            if polled.phase is Phase.ENDED:
                return words
            self.peer.clock.advance(step_s)
            for job in list(self.peer.runs.jobs()):
                if patient and job.execution is not None:
                    await asyncio.to_thread(job.execution.ended.wait, 20)
        raise AssertionError(words)

    async def collect(self, submitted: Submitted, request: FarmRunRequest) -> Collected:
        into = self.folder / f"into-{len(list(self.folder.iterdir()))}"
        into.mkdir()
        return await self.farm.collect(submitted, request, into)

    async def run(self, *jobs: Any, key: str = "wt-1") -> Collected:
        """Submits, waits and collects."""
        request = await self.request(*jobs, key=key)
        submitted = await self.submit(request)
        await self.wait(submitted)
        return await self.collect(submitted, request)


def settings(peer: AwsPeer) -> AwsSettings:
    return AwsSettings(name="aws", project=peer.project)


def new_client(peer: AwsPeer) -> DeviceFarmClient:
    async def sleep(seconds: float) -> None:
        peer.clock.advance(seconds)
        await asyncio.sleep(0)

    return DeviceFarmClient(open_client("us-west-2"), sleep=sleep, clock=peer.clock.now)
