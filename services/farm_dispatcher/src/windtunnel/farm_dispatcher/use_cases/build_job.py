"""What a farm is to run for a cell: the benchmark program with the model, or the app that holds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from windtunnel.artifacts.stores.port import ArtifactRef
from windtunnel.catalog import Catalog, CatalogEntry
from windtunnel.errors import NotFound
from windtunnel.farm_dispatcher.domain.benchmark_arguments import benchmark_arguments, game_loop_scenario
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER, App, AppJob, ExecutableJob, PushedFile

BENCHMARK: Final = "benchmark_model"
_FOLDER: Final = f"{DEVICE_FOLDER}/windtunnel"
# Where the game loop of the benchmark app looks for its model.
_GAME_LOOP_GRAPH: Final = f"{DEVICE_FOLDER}/graph"
_DEFAULT_ABIS: Final = ("arm64-v8a",)

Fetch = Callable[[CatalogEntry], Awaitable[ArtifactRef]]


@dataclass(frozen=True, slots=True)
class JobBuilder:
    """Makes jobs.

    Attributes:
        catalog: of benchmark programs.
        fetch: gives an entry of it as an artifact.
    """

    catalog: Catalog
    fetch: Fetch

    async def executable(
        self, cell: Cell, model: ArtifactRef, timeout_s: float, abis: Sequence[str] = ()
    ) -> ExecutableJob:
        """The job of a cell that runs as an executable.

        Args:
            cell: what to run.
            model: the variant's .tflite file.
            timeout_s: the longest run, in seconds.
            abis: of the device, the preferred one first; empty: not known.

        Returns:
            The job.

        Raises:
            NotFound: the catalog has no benchmark program for the device.
            Unsupported: the program has no flag for the accelerator.
        """
        graph = PushedFile(model, f"{_FOLDER}/{model.sha256[:16]}/model.tflite")
        if cell.farm_properties.platform == "host":
            # This host has a benchmark of its own, which takes the cell as it is.
            return ExecutableJob(graph, timeout_s=timeout_s)
        program = await self.fetch(self._program(abis))
        return ExecutableJob(
            graph,
            binary=PushedFile(program, f"{_FOLDER}/bin/{program.sha256[:16]}/{BENCHMARK}"),
            arguments=benchmark_arguments(cell, graph.target),
            timeout_s=timeout_s,
        )

    def app(self, cell: Cell, app: App, model: ArtifactRef, timeout_s: float) -> AppJob:
        """The job of a cell that runs inside an app.

        Args:
            cell: what to run.
            app: that holds the model.
            model: the variant's .tflite file.
            timeout_s: the longest run, in seconds.

        Returns:
            The job.

        Raises:
            Unsupported: the app cannot run the cell.
        """
        is_loop = app.kind == "game_loop"
        arguments = {} if is_loop else {"args": " ".join(benchmark_arguments(cell, _GAME_LOOP_GRAPH))}
        return AppJob(
            package=app.package,
            platform=app.platform,
            kind=app.kind,
            package_name=app.package_name,
            model_sha256=model.sha256,
            scenarios=(game_loop_scenario(cell),) if is_loop else (),
            arguments=arguments,
            files=(PushedFile(model, _GAME_LOOP_GRAPH),) if app.platform == "android" else (),
            pull=(edge_log_folder(app.package_name),) if app.platform == "android" else (),
            timeout_s=timeout_s,
            test_package=app.test_package,
        )

    def _program(self, abis: Sequence[str]) -> CatalogEntry:
        """The benchmark program for the first ABI that the catalog has."""
        first: NotFound | None = None
        for abi in abis or _DEFAULT_ABIS:
            try:
                return self.catalog.binary(BENCHMARK, abi)
            except NotFound as error:
                first = first or error
        assert first is not None
        raise first


def edge_log_folder(package_name: str) -> str:
    """Where the monitor in an Android app writes its edge log, so that farm runs find it.

    Args:
        package_name: of the app, as the system knows it.

    Returns:
        What `Context.getExternalFilesDir("windtunnel")` is on the device.
    """
    return f"/sdcard/Android/data/{package_name}/files/windtunnel"
