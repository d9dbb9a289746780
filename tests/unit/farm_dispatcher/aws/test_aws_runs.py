"""Farm runs of AWS Device Farm, through boto3 and a peer that really runs the test spec."""

from __future__ import annotations

import dataclasses
import hashlib
from decimal import Decimal
from pathlib import Path

import pytest

from support.farm_peers.aws.bench import TARGET, AwsBench
from support.farm_peers.aws.benchmark import measuring_benchmark
from support.farm_peers.aws.faults import Outcome
from support.graphs import dense_model
from windtunnel.errors import InvalidInput
from windtunnel.farm_dispatcher.domain.jobs import PushedFile
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.log_parser import parse_log

pytestmark = pytest.mark.heavy

# What the benchmark prints last: a log without it is cut.
SUMMARY = "Inference timings in us: Init: 1, First inference: 2, Warmup (avg): 2, Inference (avg): 2\n"
ENDS = f'printf "%s" "{SUMMARY}"\n'.encode()


async def test_a_model_runs_on_the_phone_and_its_bytes_are_those_of_the_variant(bench: AwsBench) -> None:
    model = dense_model(bench.folder / "m.tflite").read_bytes()
    binary = bench.files.add(measuring_benchmark(bench.folder / "measures"))
    collected = await bench.run(bench.job(model, binary))
    (result,) = collected.results
    assert result.run is not None, result.failure
    (parsed,) = parse_log(result.run.log).runs
    assert parsed.error is None and (parsed.inference.count or 0) >= 5
    assert parsed.accelerator_requested == "xnnpack"
    received = {target: sha256 for sha256, target in bench.peer.phones[0].received()}
    assert received[f"{TARGET}/model.tflite"] == hashlib.sha256(model).hexdigest()
    assert result.seconds is not None
    assert result.run.conditions is not None and not result.run.conditions.unstable
    assert (result.run.facts.name, result.run.facts.os_version) == ("Google Pixel 8", "14")
    assert result.run.instance == (await bench.farm._catalog.described(await bench.device()))["arn"]
    assert collected.billed_minutes == Decimal("1.7")
    # Not the video, which may be large.
    assert bench.peer.calls["GET"] == 3


async def test_entries_run_one_after_the_other_and_a_failing_one_does_not_stop_the_others(bench: AwsBench) -> None:
    jobs = [bench.job(model) for model in (b"one", b"FAILS", b"CRASH", b"four")]
    first, second, third, fourth = (await bench.run(*jobs)).results
    assert first.run is not None and fourth.run is not None
    assert second.failure is not None and second.failure.kind is FailureKind.TEST
    assert "status 1" in second.failure.message and "initialize" in second.failure.message
    assert "initialize" in second.log
    assert third.failure is not None and third.failure.kind is FailureKind.TEST
    assert "signal 11" in third.failure.message
    models = [sha for sha, target in bench.peer.phones[0].received() if target.endswith("model.tflite")]
    assert models == [hashlib.sha256(text).hexdigest() for text in (b"one", b"FAILS", b"CRASH", b"four")]


async def test_the_benchmark_is_pushed_once_for_all_entries(bench: AwsBench) -> None:
    binary = bench.benchmark()
    await bench.run(bench.job(b"one", binary), bench.job(b"two", binary))
    targets = [target for _, target in bench.peer.phones[0].received()]
    assert targets.count(f"{TARGET}/benchmark_model") == 1


async def test_an_entry_that_takes_too_long_ends_and_the_next_one_runs(bench: AwsBench) -> None:
    first, second = (await bench.run(bench.job(b"SLEEP", timeout_s=1.0), bench.job())).results
    assert first.failure is not None and first.failure.kind is FailureKind.TIMEOUT
    assert second.run is not None


async def test_a_file_that_arrives_damaged_is_pushed_again(bench: AwsBench) -> None:
    bench.peer.runs.phone_options = {"damaged_pushes": 1}
    (result,) = (await bench.run(bench.job())).results
    assert result.run is not None


async def test_a_file_that_keeps_arriving_damaged_is_not_measured(bench: AwsBench) -> None:
    bench.peer.runs.phone_options = {"damaged_pushes": 2}
    (result,) = (await bench.run(bench.job())).results
    assert result.failure is not None and result.failure.kind is FailureKind.INFRASTRUCTURE
    assert "sha256" in result.failure.message


async def test_words_with_spaces_and_quotes_reach_the_benchmark_as_they_are(bench: AwsBench) -> None:
    says = bench.blob(b'#!/bin/sh\nfor word in "$@" "$MY_FLAG"; do printf "[%s]\\n" "$word"; done\n' + ENDS)
    words = ("--a=b c", "it's", '"x"', "$HOME", "a;b")
    job = bench.job(binary=says, arguments=words, environment={"MY_FLAG": "one 'two' $three"})
    (result,) = (await bench.run(job)).results
    assert result.run is not None, result.failure
    assert result.run.log == "".join(f"[{word}]\n" for word in (*words, "one 'two' $three")) + SUMMARY


async def test_a_phone_that_slowed_down_for_its_heat_is_unstable(bench: AwsBench) -> None:
    bench.peer.runs.phone_options = {"thermal_status": 3}
    (result,) = (await bench.run(bench.job())).results
    assert result.run is not None and result.run.conditions is not None
    assert result.run.conditions.unstable and "thermal status 3" in result.run.conditions.reason


async def test_a_program_finds_the_libraries_that_are_pushed_with_it(bench: AwsBench) -> None:
    says = bench.blob(b'#!/bin/sh\necho "$LD_LIBRARY_PATH"\n' + ENDS)
    library = PushedFile(bench.blob(b"elf"), f"{TARGET}/lib/libnpu.so.1")
    (result,) = (await bench.run(bench.job(binary=says, files=(library,)))).results
    assert result.run is not None
    assert [part.rpartition("/")[2] for part in result.run.log.partition("\n")[0].split(":")] == ["windtunnel", "lib"]


async def test_paths_with_spaces(bench: AwsBench) -> None:
    reads = bench.blob(b"#!/bin/sh\ncat 'a folder/$b (1).txt'\n" + ENDS)
    extra = PushedFile(bench.blob(b"data\n"), f"{TARGET}/a folder/$b (1).txt")
    (result,) = (await bench.run(bench.job(binary=reads, files=(extra,), pull=(extra.target,)))).results
    assert result.run is not None and result.run.log == "data\n" + SUMMARY
    assert result.pulled[extra.target].read_text() == "data\n"


@pytest.mark.parametrize("path", ["relative/path", "/it's", "/a\nb"])
async def test_paths_that_are_none_are_refused(bench: AwsBench, path: str) -> None:
    with pytest.raises(InvalidInput, match="path"):
        await bench.submit(await bench.request(bench.job(files=(PushedFile(bench.blob(b"x"), path),))))


async def test_files_are_pulled(bench: AwsBench) -> None:
    writes = bench.blob(b"#!/bin/sh\necho ran\nmkdir -p out && echo csv > out/a.csv && echo one > one.txt\n" + ENDS)
    pull = (f"{TARGET}/out", f"{TARGET}/one.txt", f"{TARGET}/absent")
    (result,) = (await bench.run(bench.job(binary=writes, pull=pull))).results
    assert result.run is not None, result.failure
    assert set(result.pulled) == set(pull[:2])
    assert (result.pulled[pull[0]] / "a.csv").read_text() == "csv\n"
    assert result.pulled[pull[1]].read_text() == "one\n"


async def test_more_files_are_pushed_where_the_job_wants_them(bench: AwsBench) -> None:
    reads = bench.blob(b"#!/bin/sh\ncat deep/er/data.txt\n" + ENDS)
    extra = PushedFile(bench.blob(b"data\n"), f"{TARGET}/deep/er/data.txt")
    (result,) = (await bench.run(bench.job(binary=reads, files=(extra,)))).results
    assert result.run is not None and result.run.log == "data\n" + SUMMARY


async def test_a_warm_phone_is_waited_for_between_entries(bench: AwsBench, tmp_path: Path) -> None:
    bench.peer.runs.phone_options = {"temperature": 300}
    first, second = (await bench.run(bench.job(), bench.job())).results
    assert first.run is not None and second.run is not None
    assert "dumpsys battery" in (bench.peer.phones[0].folder / "adb.log").read_text()


async def test_lost_customer_artifacts_are_replaced_by_the_output_of_the_test_spec(bench: AwsBench) -> None:
    bench.peer.faults.outcomes.append(Outcome(artifacts_lost=True))
    first, second = (await bench.run(bench.job(), bench.job(b"FAILS"))).results
    assert first.run is not None and parse_log(first.run.log).runs[0].inference.count
    assert parse_log(first.run.log).unrecognized_lines == 0
    assert second.failure is not None and second.failure.kind is FailureKind.TEST


async def test_what_a_job_printed_before_the_run_was_stopped_counts_for_what_ended(bench: AwsBench) -> None:
    request = await bench.request(bench.job(), bench.job(b"SLEEP", timeout_s=600.0), bench.job())
    submitted = await bench.submit(request)
    for _ in range(4):
        bench.peer.clock.advance(20)
        await bench.farm.poll(submitted)
    (phone,) = bench.peer.phones
    folder = phone.folder.parent / "host" / "logs" / "windtunnel" / "e1"
    for _ in range(2000):
        if (folder / "log.txt").exists() and (folder / "before.txt").exists():
            break
        await bench.farm.poll(submitted)
    await bench.farm.cancel(submitted)
    await bench.wait(submitted)
    first, second, third = (await bench.collect(submitted, request)).results
    assert first.run is not None
    assert second.failure is not None and second.failure.kind is FailureKind.CANCELLED
    assert third.failure is not None and third.failure.kind is FailureKind.CANCELLED


async def test_collecting_twice_gives_the_same(bench: AwsBench) -> None:
    request = await bench.request(bench.job())
    submitted = await bench.submit(request)
    await bench.wait(submitted)
    once, again = await bench.collect(submitted, request), await bench.collect(submitted, request)
    assert once.results[0].run is not None
    assert once.billed_minutes == again.billed_minutes
    assert dataclasses.replace(once.results[0], pulled={}) == dataclasses.replace(again.results[0], pulled={})


async def test_what_would_exceed_the_limit_of_artifacts_is_not_pulled(bench: AwsBench) -> None:
    writes = bench.blob(b"#!/bin/sh\necho ran\ntruncate -s 800M large.bin && echo small > small.txt\n" + ENDS)
    pull = (f"{TARGET}/large.bin", f"{TARGET}/small.txt")
    (result,) = (await bench.run(bench.job(binary=writes, pull=pull))).results
    assert result.run is not None, result.failure
    assert set(result.pulled) == {pull[1]}


async def test_a_phone_that_is_lost_while_a_job_runs_is_not_the_fault_of_the_model(bench: AwsBench) -> None:
    unplugs = bench.blob(b'#!/bin/sh\necho begins\ntouch "$WINDTUNNEL_PHONE/gone"\nexit 1\n')
    first, second = (await bench.run(bench.job(binary=unplugs), bench.job())).results
    assert first.failure is not None and first.failure.kind is FailureKind.INFRASTRUCTURE
    assert "lost the device" in first.failure.message and "begins" in first.log
    assert second.failure is not None and second.failure.kind is FailureKind.INFRASTRUCTURE


async def test_customer_artifacts_that_are_damaged_are_replaced_too(bench: AwsBench) -> None:
    request = await bench.request(bench.job())
    submitted = await bench.submit(request)
    await bench.wait(submitted)
    for job in bench.peer.runs.jobs():
        (found,) = [one for one in job.artifacts if one[1] == "CUSTOMER_ARTIFACT"]
        job.artifacts[job.artifacts.index(found)] = (*found[:4], b"not a zip any more")
    (result,) = (await bench.collect(submitted, request)).results
    assert result.run is not None, "the output of the test spec has the log"


async def test_a_run_that_somebody_deleted_has_ended(bench: AwsBench) -> None:
    request = await bench.request(bench.job())
    submitted = await bench.submit(request)
    bench.peer.runs.by_arn.clear()
    polled = await bench.farm.poll(submitted)
    assert (polled.phase.value, polled.words) == ("ended", "DELETED")
    collected = await bench.collect(submitted, request)
    assert [result.failure.kind for result in collected.results if result.failure] == [FailureKind.CANCELLED]
    await bench.farm.cancel(submitted)


@pytest.mark.parametrize("level", ["job", "suite", "test"])
async def test_artifacts_are_found_at_every_level(bench: AwsBench, level: str) -> None:
    bench.peer.faults.artifacts_at = level
    (result,) = (await bench.run(bench.job())).results
    assert result.run is not None, result.failure


async def test_artifacts_that_appear_late_are_waited_for(bench: AwsBench) -> None:
    request = await bench.request(bench.job())
    submitted = await bench.submit(request)
    await bench.wait(submitted)
    (job,) = bench.peer.runs.jobs()
    bench.peer.faults.artifacts_late_s = bench.peer.clock.now() - (job.stopped or 0.0) + 6.0
    (result,) = (await bench.collect(submitted, request)).results
    assert result.run is not None, result.failure


async def test_the_test_spec_is_uploaded_as_yaml(bench: AwsBench) -> None:
    await bench.submit(await bench.request(bench.job()))
    names = [one.name for one in bench.peer.uploads.by_arn.values() if one.type.endswith("_TEST_SPEC")]
    assert names and all(name.endswith(".yml") for name in names)
