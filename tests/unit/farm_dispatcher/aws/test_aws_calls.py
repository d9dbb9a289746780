"""Calls of AWS Device Farm that are lost, throttled, refused or slow: no run is scheduled twice, none is given up."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.farm_peers.aws.api import Refused
from support.farm_peers.aws.bench import AwsBench, new_client, settings
from support.farm_peers.aws.devices import device as shown_device
from support.farm_peers.aws.faults import Bucket, Outcome
from windtunnel.errors import FarmError, InvalidInput
from windtunnel.farm_dispatcher.adapters.aws.aws_farm import AwsFarm
from windtunnel.farm_dispatcher.domain.device_runs import Phase
from windtunnel.farm_dispatcher.domain.jobs import ExecutableJob
from windtunnel.farms.failure_kinds import FailureKind

# Each has a boto3 client of its own, which takes a while to read its description.
pytestmark = pytest.mark.heavy

BUSY = Refused("ServiceUnavailable", "later", 503)


async def refused(bench: AwsBench, **changes: Any) -> FarmError:
    request = await bench.request(bench.job(**changes))
    with pytest.raises(FarmError) as error:
        await bench.submit(request)
    return error.value


async def test_the_same_key_is_one_run_for_another_process_too(bench: AwsBench) -> None:
    request = await bench.request(bench.job())
    assert await bench.farm.find(request.key) is None
    first = await bench.submit(request)
    other = AwsFarm(client := new_client(bench.peer), settings(bench.peer))
    second, found = await other.submit(request, bench.files), await other.find(request.key)
    client.close()
    assert found is not None and first.id == second.id == found.id
    assert bench.peer.calls["ScheduleRun"] == 1
    assert first.url.startswith("https://us-west-2.console.aws.amazon.com/")


async def test_the_same_key_at_the_same_time_is_one_run(bench: AwsBench) -> None:
    request = await bench.request(bench.job())
    first, second = await asyncio.gather(bench.submit(request), bench.submit(request))
    assert first.id == second.id
    assert len(bench.peer.runs.by_arn) == 1


@pytest.mark.parametrize("hidden_s", [0.0, 6.0])
async def test_a_lost_answer_is_found_by_its_name(bench: AwsBench, hidden_s: float) -> None:
    bench.peer.faults.lose_answer.append("ScheduleRun")
    bench.peer.faults.runs_hidden_s = hidden_s
    submitted = await bench.submit(await bench.request(bench.job()))
    assert list(bench.peer.runs.by_arn) == [submitted.id]
    assert bench.peer.calls["ScheduleRun"] == 1


async def test_a_run_that_does_not_appear_is_asked_for_later_and_not_scheduled_again(bench: AwsBench) -> None:
    request = await bench.request(bench.job())
    bench.peer.faults.lose_answer.append("ScheduleRun")
    bench.peer.faults.runs_hidden_s = 1000.0
    with pytest.raises(FarmError) as error:
        await bench.submit(request)
    assert error.value.retryable
    with pytest.raises(FarmError, match="not known yet"):
        await bench.submit(request)
    bench.peer.clock.advance(1000)
    submitted = await bench.submit(request)
    assert list(bench.peer.runs.by_arn) == [submitted.id]


@pytest.mark.parametrize("answer", [BUSY, Refused("InternalFailure", "", 500)])
async def test_a_server_error_of_schedule_run_is_not_repeated_blindly(bench: AwsBench, answer: Refused) -> None:
    bench.peer.faults.refuse["ScheduleRun"] = [answer]
    request = await bench.request(bench.job())
    with pytest.raises(FarmError) as error:
        await bench.submit(request)
    assert error.value.retryable
    assert bench.peer.calls["ScheduleRun"] == 1
    bench.peer.clock.advance(100)
    assert (await bench.submit(request)).id


async def test_a_run_that_exists_under_the_name_is_taken(bench: AwsBench) -> None:
    request = await bench.request(bench.job())
    bench.peer.faults.lose_answer.append("ScheduleRun")
    bench.peer.faults.runs_hidden_s = 1000.0
    with pytest.raises(FarmError):
        await bench.submit(request)
    bench.peer.clock.advance(100)
    bench.peer.faults.refuse["ScheduleRun"] = [Refused("IdempotencyException", "An entity with the same name exists")]
    # It appears while it is looked for.
    bench.peer.faults.runs_hidden_s = 110.0
    submitted = await bench.submit(request)
    assert list(bench.peer.runs.by_arn) == [submitted.id]


async def test_throttling_and_lost_connections_of_reads_are_waited_out(bench: AwsBench) -> None:
    submitted = await bench.submit(await bench.request(bench.job()))
    bench.peer.faults.refuse["GetRun"] = [Refused("ThrottlingException", "Rate exceeded"), BUSY]
    bench.peer.faults.drop.append("GetRun")
    assert (await bench.farm.poll(submitted)).phase is Phase.QUEUED


async def test_lasting_throttling_is_an_error_that_may_be_tried_later(bench: AwsBench) -> None:
    submitted = await bench.submit(await bench.request(bench.job()))
    bench.peer.faults.buckets["GetRun"] = Bucket(0, 0.0)
    with pytest.raises(FarmError) as error:
        await bench.farm.poll(submitted)
    assert error.value.retryable and "Rate exceeded" in error.value.message
    bench.peer.faults.buckets.clear()
    assert (await bench.farm.poll(submitted)).phase is Phase.QUEUED


async def test_a_used_up_limit_is_a_quota_at_once(bench: AwsBench) -> None:
    bench.peer.runs.in_flight = 0
    error = await refused(bench)
    assert (error.kind, error.retryable) == (FailureKind.QUOTA, False)
    assert bench.peer.calls["ScheduleRun"] == 1


@pytest.mark.parametrize("operation", ["ListRuns", "ListDevices", "CreateUpload", "GetUpload", "ListUploads"])
async def test_every_call_survives_a_server_error(bench: AwsBench, operation: str) -> None:
    bench.peer.faults.refuse[operation] = [BUSY]
    assert (await bench.submit(await bench.request(bench.job()))).id


async def test_each_content_is_uploaded_once(bench: AwsBench) -> None:
    binary = bench.benchmark()
    await bench.submit(await bench.request(bench.job(b"one", binary), key="wt-1"))
    assert bench.peer.calls["CreateUpload"] == 3
    await bench.submit(await bench.request(bench.job(b"one", binary), key="wt-2"))
    assert bench.peer.calls["CreateUpload"] == 3
    other = AwsFarm(client := new_client(bench.peer), settings(bench.peer))
    await other.submit(await bench.request(bench.job(b"two", binary), key="wt-3"), bench.files)
    client.close()
    # The app and the test spec are those of the first process.
    assert bench.peer.calls["CreateUpload"] == 4
    assert bench.peer.calls["ListUploads"] < 15


async def test_uploads_at_the_same_time_are_one(bench: AwsBench) -> None:
    requests = [await bench.request(bench.job(b"one"), key=f"wt-{number}") for number in range(3)]
    await asyncio.gather(*[bench.submit(request) for request in requests])
    assert bench.peer.calls["CreateUpload"] == 3


async def test_a_put_that_fails_is_repeated(bench: AwsBench) -> None:
    bench.peer.faults.failed_puts = 2
    assert (await bench.submit(await bench.request(bench.job()))).id
    assert bench.peer.calls["PUT"] == 5


async def test_an_upload_that_never_arrives_is_not_scheduled(bench: AwsBench) -> None:
    bench.peer.faults.failed_puts = 100
    error = await refused(bench)
    assert error.retryable and error.kind == FailureKind.INFRASTRUCTURE
    assert bench.peer.calls["ScheduleRun"] == 0


async def test_an_upload_that_stays_in_processing_is_not_scheduled(bench: AwsBench) -> None:
    bench.peer.uploads.processing_s = 1e9
    error = await refused(bench)
    assert error.kind == FailureKind.INFRASTRUCTURE and "PROCESSING" in error.message
    assert bench.peer.calls["ScheduleRun"] == 0


async def test_an_upload_that_is_not_taken_says_why(bench: AwsBench) -> None:
    bench.peer.faults.upload_failures.append("The app is not valid.")
    error = await refused(bench)
    assert (error.kind, error.retryable) == (FailureKind.TEST, False)
    assert "The app is not valid." in error.message
    assert bench.peer.calls["ScheduleRun"] == 0


async def test_an_upload_that_was_deleted_is_uploaded_again(bench: AwsBench) -> None:
    await bench.submit(await bench.request(bench.job(), key="wt-1"))
    bench.peer.uploads.by_arn.clear()
    submitted = await bench.submit(await bench.request(bench.job(), key="wt-2"))
    assert submitted.id in bench.peer.runs.by_arn
    assert bench.peer.calls["CreateUpload"] == 6


async def test_a_refused_request_with_good_uploads_is_not_repeated(bench: AwsBench) -> None:
    bench.peer.faults.refuse["ScheduleRun"] = [Refused("ArgumentException", "Missing or unprocessed resources.")]
    error = await refused(bench)
    assert (error.kind, error.retryable) == (FailureKind.OTHER, False)
    assert bench.peer.calls["ScheduleRun"] == 1
    assert bench.peer.calls["CreateUpload"] == 3


async def test_the_run_is_pinned_to_one_device(bench: AwsBench) -> None:
    request = await bench.request(bench.job())
    submitted = await bench.submit(request)
    scheduled = bench.peer.runs.by_arn[submitted.id].request
    selection = scheduled["deviceSelectionConfiguration"]
    assert selection["maxDevices"] == 1
    arn = bench.peer.runs.devices[0]["arn"]
    assert {"attribute": "ARN", "operator": "EQUALS", "values": [arn]} in selection["filters"]
    assert {"attribute": "OS_VERSION", "operator": "EQUALS", "values": ["14"]} in selection["filters"]
    assert scheduled["name"] == request.key
    assert scheduled["executionConfiguration"]["jobTimeoutMinutes"] == 15


async def test_a_job_on_another_device_is_not_a_measurement(bench: AwsBench) -> None:
    bench.peer.faults.outcomes.append(Outcome(other_device=True))
    (result,) = (await bench.run(bench.job())).results
    assert result.failure is not None and result.failure.kind is FailureKind.DEVICE
    assert result.failure.field == "job.device.arn"


async def test_instances_that_failed_before_are_avoided_if_there_are_others(bench: AwsBench) -> None:
    arn = "arn:aws:devicefarm:us-west-2:123456789012:deviceinstance:{}"
    bench.peer.runs.devices[0]["instances"] = [{"arn": arn.format(number)} for number in (1, 2)]
    request = await bench.request(bench.job())
    cases = [((arn.format(1), "x"), [arn.format(1)]), ((arn.format(1), arn.format(2)), None)]
    for number, (avoid, expected) in enumerate(cases):
        again = dataclasses.replace(request, key=f"wt-{number}", avoid=avoid)
        submitted = await bench.submit(again)
        filters = bench.peer.runs.by_arn[submitted.id].request["deviceSelectionConfiguration"]["filters"]
        found = [one["values"] for one in filters if one["attribute"] == "INSTANCE_ARN"]
        assert found == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Outcome(result="ERRORED", runs=False, counted=False), FailureKind.INFRASTRUCTURE),
        (Outcome(result="ERRORED", message="The device is not available", runs=False), FailureKind.DEVICE),
        (Outcome(result="SKIPPED", runs=False), FailureKind.DEVICE),
        (Outcome(result="SKIPPED", result_code="PARSING_FAILED", runs=False), FailureKind.TEST),
        (Outcome(result="STOPPED", runs=False), FailureKind.CANCELLED),
        (Outcome(result="FAILED", message="INSTALL_FAILED_NO_MATCHING_ABIS", runs=False), FailureKind.DEVICE),
    ],
)
async def test_a_run_that_never_began(bench: AwsBench, outcome: Outcome, kind: FailureKind) -> None:
    bench.peer.faults.outcomes.append(outcome)
    collected = await bench.run(bench.job(b"one"), bench.job(b"two"))
    assert [result.failure.kind if result.failure else None for result in collected.results] == [kind, kind]
    assert collected.billed_minutes is None


async def test_the_job_timeout_of_the_service(bench: AwsBench) -> None:
    bench.peer.faults.outcomes.append(Outcome(minutes=1000.0))
    request = await bench.request(bench.job(b"SLEEP", timeout_s=600.0), bench.job())
    submitted = await bench.submit(request)
    assert await bench.wait(submitted, 60.0, patient=False) == ["PENDING", "PREPARING", "RUNNING", "COMPLETED"]
    first, second = (await bench.collect(submitted, request)).results
    assert first.failure is not None and first.failure.kind is FailureKind.TIMEOUT
    assert second.failure is not None and second.failure.kind is FailureKind.TIMEOUT


async def test_waiting_for_a_device_or_a_slot_is_not_running(bench: AwsBench) -> None:
    bench.peer.faults.outcomes.append(Outcome(device_wait_s=300.0))
    submitted = await bench.submit(await bench.request(bench.job()))
    bench.peer.runs.at_once = 0
    bench.peer.clock.advance(60)
    waits = await bench.farm.poll(submitted)
    assert (waits.phase, waits.words) == (Phase.QUEUED, "PENDING_CONCURRENCY")
    bench.peer.runs.at_once = 5
    waits = await bench.farm.poll(submitted)
    assert (waits.phase, waits.words) == (Phase.QUEUED, "PENDING_DEVICE")


async def test_every_status_of_the_service_has_a_phase() -> None:
    from support.farm_peers.aws.api import description
    from windtunnel.farm_dispatcher.adapters.aws.aws_farm import PHASES

    assert set(PHASES) == set(description()["shapes"]["ExecutionStatus"]["enum"])


async def test_canceling_twice_and_after_the_end_changes_nothing(bench: AwsBench) -> None:
    bench.peer.faults.outcomes.append(Outcome(minutes=1.0))
    request = await bench.request(bench.job())
    submitted = await bench.submit(request)
    await bench.farm.cancel(submitted)
    await bench.farm.cancel(submitted)
    await bench.wait(submitted)
    await bench.farm.cancel(submitted)
    collected = await bench.collect(submitted, request)
    assert collected.results[0].failure is not None
    assert collected.results[0].failure.kind is FailureKind.CANCELLED
    assert collected.billed_minutes is None
    assert bench.peer.calls["StopRun"] == 1


async def test_a_stopped_run_bills_what_ran(bench: AwsBench) -> None:
    bench.peer.faults.outcomes.append(Outcome(minutes=9.0))
    request = await bench.request(bench.job(b"SLEEP", timeout_s=900.0))
    submitted = await bench.submit(request)
    for _ in range(8):
        bench.peer.clock.advance(20)
        await bench.farm.poll(submitted)
    await bench.farm.cancel(submitted)
    await bench.wait(submitted)
    billed = (await bench.collect(submitted, request)).billed_minutes
    assert billed is not None and Decimal(0) < billed < Decimal(4)


async def test_devices(bench: AwsBench) -> None:
    devices = await bench.farm.devices()
    assert len(devices) == 7
    assert len({(one.name, one.os_version) for one in devices}) == 7
    pixel = next(one for one in devices if (one.name, one.os_version) == ("Google Pixel 8", "15"))
    assert (pixel.platform, pixel.maker, pixel.form_factor, pixel.kind) == ("android", "Google", "phone", "physical")
    assert pixel.abis[0] == "arm64-v8a"
    assert {one.name for one in devices if not one.available} == {"Samsung Galaxy Tab S9", "Google Pixel 4a"}
    assert {one.name for one in devices if one.platform == "ios"} == {"Apple iPhone 15", "Apple iPhone SE (2020)"}
    await bench.farm.devices()
    assert bench.peer.calls["ListDevices"] == 3


async def test_of_devices_that_differ_in_their_carrier_the_available_one_is_taken(bench: AwsBench) -> None:
    bench.peer.runs.devices[0]["availability"] = "BUSY"
    better = shown_device(99, "Google", "Google Pixel 8", "14")
    bench.peer.runs.devices.append(better)
    submitted = await bench.submit(await bench.request(bench.job()))
    filters = bench.peer.runs.by_arn[submitted.id].request["deviceSelectionConfiguration"]["filters"]
    assert filters[0]["values"] == [better["arn"]]


async def test_a_device_that_is_gone_is_a_failure_of_the_device(bench: AwsBench) -> None:
    request = await bench.request(bench.job())
    del bench.peer.runs.devices[0]
    other = AwsFarm(client := new_client(bench.peer), settings(bench.peer))
    with pytest.raises(FarmError) as error:
        await other.submit(request, bench.files)
    client.close()
    assert error.value.kind == FailureKind.DEVICE and "Google Pixel 8" in error.value.message


async def test_a_job_that_may_take_longer_than_the_service_allows_is_refused(bench: AwsBench) -> None:
    error = await refused(bench, timeout_s=151 * 60.0)
    assert (error.kind, error.retryable) == (FailureKind.UNSUPPORTED, False)
    assert "150" in error.message


async def test_a_job_without_a_benchmark_is_refused(bench: AwsBench) -> None:
    job = ExecutableJob(bench.job().model)
    request = await bench.request(job)
    with pytest.raises(InvalidInput, match="benchmark"):
        await bench.submit(request)


async def test_missing_credentials_say_what_to_do(bench: AwsBench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    farm = AwsFarm(client := new_client(bench.peer), settings(bench.peer))
    with pytest.raises(FarmError) as error:
        await farm.devices()
    client.close()
    assert not error.value.retryable and "credentials" in error.value.hint


async def test_a_server_on_this_machine_is_not_asked_through_a_proxy(
    bench: AwsBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    # Credentials of ~/.netrc are not for presigned addresses.
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    farm = AwsFarm(client := new_client(bench.peer), settings(bench.peer))
    assert (await farm.submit(await bench.request(bench.job()), bench.files)).id
    client.close()


async def test_a_wrong_project_says_what_to_do(bench: AwsBench) -> None:
    wrong = dataclasses.replace(settings(bench.peer), project=bench.peer.project + "x")
    farm = AwsFarm(bench.client, wrong)
    with pytest.raises(FarmError) as error:
        await farm.devices()
    assert not error.value.retryable and "farms.yaml" in error.value.hint


async def test_the_package_is_the_same_for_the_same_run(bench: AwsBench) -> None:
    request = await bench.request(bench.job(b"one"))
    renamed = dataclasses.replace(request, key="wt-other")
    await bench.submit(request)
    await bench.submit(renamed)
    packages = [one for one in bench.peer.uploads.by_arn.values() if one.type == "APPIUM_PYTHON_TEST_PACKAGE"]
    (package,) = packages
    assert hashlib.sha256(package.content or b"").hexdigest() in package.name


def age(bench: AwsBench, days: float) -> None:
    """Makes all runs older."""
    for run in bench.peer.runs.by_arn.values():
        run.created -= days * 86_400


async def look(bench: AwsBench, key: str) -> tuple[bool, int]:
    """Whether a new process finds a run, and in how many pages."""
    before = bench.peer.calls["ListRuns"]
    farm = AwsFarm(bench.client, settings(bench.peer))
    found = await farm.find(key)
    return found is not None, bench.peer.calls["ListRuns"] - before


async def test_lists_of_runs_are_not_read_further_than_they_can_help(bench: AwsBench) -> None:
    binary = bench.benchmark()
    for number in range(7):
        await bench.submit(await bench.request(bench.job(b"one", binary), key=f"wt-{number}"))
    assert await look(bench, "wt-none") == (False, 3)
    assert await look(bench, "wt-6") == (True, 1)
    assert await look(bench, "wt-0") == (True, 3)
    age(bench, 8)
    assert await look(bench, "wt-none") == (False, 1)
    # A list that is not in order is read to its end.
    runs = list(bench.peer.runs.by_arn.values())
    runs[5].created, runs[6].created = runs[6].created - 1, runs[5].created
    assert await look(bench, "wt-0") == (True, 3)


async def test_what_was_read_of_a_list_is_not_read_again(bench: AwsBench) -> None:
    binary = bench.benchmark()
    for number in range(7):
        await bench.submit(await bench.request(bench.job(b"one", binary), key=f"wt-{number}"))
    age(bench, 1)
    await bench.submit(await bench.request(bench.job(b"one", binary), key="wt-new"))
    farm = AwsFarm(bench.client, settings(bench.peer))
    assert await farm.find("wt-none") is None
    before = bench.peer.calls["ListRuns"]
    for key, known in (("wt-none", False), ("wt-0", True), ("wt-5", True), ("wt-new", True)):
        assert (await farm.find(key) is not None) == known
    assert bench.peer.calls["ListRuns"] - before == 4
    other = await bench.submit(await bench.request(bench.job(b"one", binary), key="wt-newer"))
    found = await farm.find("wt-newer")
    assert found is not None and found.id == other.id
