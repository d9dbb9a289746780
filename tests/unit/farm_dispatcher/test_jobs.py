"""The jobs of cells: arguments of the benchmark, and that records keep jobs."""

from __future__ import annotations

import pytest

from windtunnel.artifacts import ArtifactRef
from windtunnel.catalog import Catalog, CatalogEntry, EntryKind
from windtunnel.errors import NotFound, Unsupported
from windtunnel.farm_dispatcher.domain.benchmark_arguments import benchmark_arguments, game_loop_scenario
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.jobs import App, AppJob, ExecutableJob, PushedFile
from windtunnel.farm_dispatcher.messages.job_messages import job_from_proto, job_to_proto
from windtunnel.farm_dispatcher.use_cases.build_job import JobBuilder
from windtunnel.farms.properties import THIS_HOST

MODEL = ArtifactRef("a" * 64, 10)
BINARY = ArtifactRef("b" * 64, 20)
APP = ArtifactRef("c" * 64, 30)


def cell(accelerator: str = "xnnpack", threads: int = 1, **more: object) -> Cell:
    return Cell("c-1", "int8", "bench", "R58M1", "android", "14", accelerator, threads, **more)  # type: ignore[arg-type]


async def binary(entry: CatalogEntry) -> ArtifactRef:
    assert (entry.name, entry.abi) == ("benchmark_model", "armeabi-v7a")
    return BINARY


JOBS = JobBuilder(
    Catalog((CatalogEntry("benchmark_model", EntryKind.BINARY, "b" * 64, "file:///b", abi="armeabi-v7a"),)), binary
)


def test_the_benchmark_is_told_accelerator_threads_and_shapes() -> None:
    asked = cell("gpu", 4, input_shapes={"image": (1, 8, 8, 3), "mask": (1, 8)})
    assert benchmark_arguments(asked, "/m.tflite") == (
        "--graph=/m.tflite",
        "--num_threads=4",
        "--use_gpu=true",
        "--input_layer=image,mask",
        "--input_layer_shape=1,8,8,3:1,8",
        "--report_peak_memory_footprint=true",
    )
    # The runtime applies XNNPACK by itself: no delegate must be asked for.
    assert "--use_xnnpack=false" in benchmark_arguments(cell("cpu"), "/m.tflite")
    with pytest.raises(Unsupported, match="'qnn'"):
        benchmark_arguments(cell("qnn"), "/m.tflite")


@pytest.mark.parametrize(
    ("accelerator", "threads", "scenario"),
    [
        ("cpu", 1, 1),
        ("cpu", 4, 3),
        ("xnnpack", 2, 5),
        ("gpu", 1, 7),
        ("gpu", 8, 7),
        ("hexagon", 1, 9),
        ("nnapi", 1, 10),
    ],
)
def test_scenarios_of_the_game_loop(accelerator: str, threads: int, scenario: int) -> None:
    assert game_loop_scenario(cell(accelerator, threads)) == scenario


@pytest.mark.parametrize(("accelerator", "threads"), [("cpu", 3), ("coreml", 1)])
def test_what_no_scenario_runs_is_refused(accelerator: str, threads: int) -> None:
    with pytest.raises(Unsupported, match=f"{accelerator} with {threads} threads"):
        game_loop_scenario(cell(accelerator, threads))


async def test_an_executable_job_takes_the_first_abi_that_the_catalog_has() -> None:
    job = await JOBS.executable(cell(), MODEL, 60, ("arm64-v8a", "armeabi-v7a"))
    assert job.binary is not None and job.binary.blob == BINARY
    assert job.arguments[0] == f"--graph={job.model.target}"
    assert job.blobs == (MODEL, BINARY) and job.model_sha256 == MODEL.sha256
    with pytest.raises(NotFound, match="arm64-v8a"):
        await JOBS.executable(cell(), MODEL, 60)


async def test_this_host_needs_no_program() -> None:
    job = await JOBS.executable(cell(farm_properties=THIS_HOST), MODEL, 60)
    assert job.binary is None and job.blobs == (MODEL,)


def test_an_app_job_pushes_the_model_where_the_game_loop_looks() -> None:
    job = JOBS.app(cell("gpu"), App(APP, "android"), MODEL, 60)
    assert (job.scenarios, job.files) == ((7,), (PushedFile(MODEL, "/data/local/tmp/graph"),))
    assert job.blobs == (APP, MODEL)


@pytest.mark.parametrize(
    "job",
    [
        ExecutableJob(PushedFile(MODEL, "/m")),
        ExecutableJob(PushedFile(MODEL, "/m"), PushedFile(BINARY, "/b"), ("-x",), {"A": "1"}, (), ("/p",), 5.5),
        AppJob(
            APP, "ios", "xctest", "a.b", "a" * 64, (1, 2), {"k": "v"}, (PushedFile(MODEL, "/m"),), ("/p",), 9.0, BINARY
        ),
    ],
)
def test_records_keep_jobs_as_they_are(job: ExecutableJob | AppJob) -> None:
    assert job_from_proto(job_to_proto(job)) == job
