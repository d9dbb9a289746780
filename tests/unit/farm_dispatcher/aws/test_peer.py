"""The peer of AWS Device Farm behaves as the service's own description says; boto3 talks to it unchanged."""

from __future__ import annotations

import io
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from support.farm_peers.aws.api import Refused
from support.farm_peers.aws.faults import Bucket, Outcome
from support.farm_peers.aws.server import AwsPeer, start_aws_peer

SPEC = """
version: 0.1
android_test_host: amazon_linux_2
phases:
  test:
    commands:
      - adb -s $DEVICEFARM_DEVICE_UDID push $DEVICEFARM_TEST_PACKAGE_PATH/files/a /data/local/tmp/a
      - adb -s $DEVICEFARM_DEVICE_UDID shell cat /data/local/tmp/a > $DEVICEFARM_LOG_DIR/said.txt
      - echo spec output
artifacts:
  - $DEVICEFARM_LOG_DIR
"""


def zipped(**files: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return stream.getvalue()


PACKAGE = zipped(**{"tests/test_a.py": "", "requirements.txt": "", "files/a": "hello"})
APK = zipped(**{"AndroidManifest.xml": "x"})
PIXEL = [{"attribute": "MODEL", "operator": "EQUALS", "values": ["Google Pixel 8"]}]


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsPeer]:
    with start_aws_peer(tmp_path / "farm") as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def client(peer: AwsPeer) -> Any:
    return boto3.session.Session().client("devicefarm", config=Config(retries={"total_max_attempts": 1}))


def put(url: str, content: bytes) -> int:
    request = urllib.request.Request(url, content, method="PUT", headers={"Content-Type": "application/octet-stream"})
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def upload(peer: AwsPeer, client: Any, name: str, kind: str, content: bytes) -> str:
    made = client.create_upload(projectArn=peer.project, name=name, type=kind)["upload"]
    assert made["status"] == "INITIALIZED"
    assert put(made["url"], content) == 200
    assert client.get_upload(arn=made["arn"])["upload"]["status"] == "PROCESSING"
    peer.clock.advance(30)
    return str(made["arn"])


def resources(peer: AwsPeer, client: Any) -> dict[str, Any]:
    spec = upload(peer, client, "s.zip", "APPIUM_PYTHON_TEST_SPEC", SPEC.encode())
    package = upload(peer, client, "p.zip", "APPIUM_PYTHON_TEST_PACKAGE", PACKAGE)
    return {
        "projectArn": peer.project,
        "appArn": upload(peer, client, "a.apk", "ANDROID_APP", APK),
        "name": "run-1",
        "test": {"type": "APPIUM_PYTHON", "testPackageArn": package, "testSpecArn": spec},
        "deviceSelectionConfiguration": {"filters": PIXEL, "maxDevices": 1},
    }


def status(client: Any, arn: str) -> str:
    return str(client.get_run(arn=arn)["run"]["status"])


def wait(peer: AwsPeer, client: Any, arn: str) -> dict[str, Any]:
    """Time passes until the run has ended."""
    for _ in range(200):
        run: dict[str, Any] = client.get_run(arn=arn)["run"]
        if run["status"] == "COMPLETED":
            return run
        peer.clock.advance(20)
        for job in peer.runs.jobs():
            if job.execution is not None:
                job.execution.ended.wait(10)
    raise AssertionError(run)


@pytest.mark.heavy
def test_a_run_executes_its_test_spec_on_the_phone(peer: AwsPeer, client: Any) -> None:
    arn = client.schedule_run(**resources(peer, client))["run"]["arn"]
    seen = [status(client, arn)]
    for seconds in (12, 5, 40):
        peer.clock.advance(seconds)
        seen.append(status(client, arn))
    assert seen == ["PENDING", "SCHEDULING", "PREPARING", "RUNNING"]
    run = wait(peer, client, arn)
    assert (run["result"], run["deviceMinutes"]["metered"]) == ("PASSED", 1.7)
    assert run["counters"]["passed"] == 3
    assert peer.phones[0].received()[0][1] == "/data/local/tmp/a"
    pages = client.get_paginator("list_artifacts").paginate(arn=arn, type="FILE")
    files = {one["type"]: one for page in pages for one in page["artifacts"]}
    assert peer.calls["ListArtifacts"] == 2
    with urllib.request.urlopen(files["CUSTOMER_ARTIFACT"]["url"]) as answer:
        archive = zipfile.ZipFile(io.BytesIO(answer.read()))
    assert archive.read("Host_Machine_Files/$DEVICEFARM_LOG_DIR/said.txt") == b"hello"
    with urllib.request.urlopen(files["TESTSPEC_OUTPUT"]["url"]) as answer:
        assert b"spec output" in answer.read()


@pytest.mark.heavy
def test_a_failing_command_of_the_test_phase_fails_the_run(peer: AwsPeer, client: Any) -> None:
    request = resources(peer, client)
    failing = SPEC.replace("echo spec output", "exit 3").encode()
    request["test"]["testSpecArn"] = upload(peer, client, "f.yml", "APPIUM_PYTHON_TEST_SPEC", failing)
    run = wait(peer, client, client.schedule_run(**request)["run"]["arn"])
    assert (run["result"], run["counters"]["failed"]) == ("FAILED", 1)


@pytest.mark.parametrize(
    ("name", "kind", "content", "says"),
    [
        ("a.apk", "ANDROID_APP", b"no zip", "could not open"),
        ("a.apk", "ANDROID_APP", zipped(a="b"), "AndroidManifest.xml"),
        ("a.ipa", "IOS_APP", zipped(a="b"), "Payload"),
        ("p.zip", "APPIUM_PYTHON_TEST_PACKAGE", zipped(a="b"), "tests directory"),
        ("p.zip", "APPIUM_PYTHON_TEST_PACKAGE", zipped(tests__run__py="b", **{"tests/run.py": ""}), "valid test file"),
        ("s.zip", "APPIUM_PYTHON_TEST_SPEC", b"version: 1", "version 0.1"),
    ],
)
def test_an_upload_that_cannot_be_used_fails(
    peer: AwsPeer, client: Any, name: str, kind: str, content: bytes, says: str
) -> None:
    arn = upload(peer, client, name, kind, content)
    found = client.get_upload(arn=arn)["upload"]
    assert found["status"] == "FAILED"
    assert says in found["message"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.aab", "ANDROID_APP"), ("a/b.apk", "ANDROID_APP"), ("a.zip", "IOS_APP"), ("a.apk", "EXTERNAL_DATA")],
)
def test_names_of_uploads_are_checked(peer: AwsPeer, client: Any, name: str, kind: str) -> None:
    with pytest.raises(client.exceptions.ArgumentException):
        client.create_upload(projectArn=peer.project, name=name, type=kind)


def change(request: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        request = request.setdefault(parent, {})
    if value is None:
        del request[last]
    else:
        request[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("appArn", None),
        ("test.testPackageArn", None),
        ("deviceSelectionConfiguration", None),
        ("devicePoolArn", "arn:aws:devicefarm:us-west-2::devicepool:082d10e5-d7d7-48a5-ba5c-b33d66efa1f5"),
        ("deviceSelectionConfiguration.maxDevices", 0),
        ("deviceSelectionConfiguration.filters", [{"attribute": "PLATFORM", "operator": "IN", "values": ["IOS"]}]),
        ("executionConfiguration.jobTimeoutMinutes", 151),
        ("executionConfiguration.jobTimeoutMinutes", 4),
        ("test.type", "APPIUM_NODE"),
    ],
)
def test_rules_of_schedule_run(peer: AwsPeer, client: Any, path: str, value: Any) -> None:
    request = resources(peer, client)
    change(request, path, value)
    with pytest.raises(client.exceptions.ArgumentException):
        client.schedule_run(**request)


def test_an_upload_that_is_not_processed_cannot_be_scheduled(peer: AwsPeer, client: Any) -> None:
    request = resources(peer, client)
    request["appArn"] = client.create_upload(projectArn=peer.project, name="b.apk", type="ANDROID_APP")["upload"]["arn"]
    with pytest.raises(client.exceptions.ArgumentException, match="unprocessed"):
        client.schedule_run(**request)


def test_requests_that_boto_would_not_send_are_refused_too(peer: AwsPeer, client: Any) -> None:
    unchecked = boto3.session.Session().client("devicefarm", config=Config(parameter_validation=False))
    for request in ({}, {"projectArn": "short", "test": {"type": "APPIUM"}}, {"test": {"type": 3}}):
        with pytest.raises(botocore.exceptions.ClientError, match="ValidationException"):
            unchecked.schedule_run(**request)


@pytest.mark.heavy
def test_five_jobs_run_at_once_and_the_others_wait(peer: AwsPeer, client: Any) -> None:
    request = resources(peer, client)
    arns = [client.schedule_run(**request)["run"]["arn"] for _ in range(6)]
    peer.clock.advance(20)
    assert [status(client, arn) for arn in arns].count("PENDING_CONCURRENCY") == 1
    for arn in arns:
        assert wait(peer, client, arn)["result"] == "PASSED"


def test_a_used_up_limit_and_throttling_have_their_own_errors(peer: AwsPeer, client: Any) -> None:
    request = resources(peer, client)
    peer.runs.in_flight = 1
    client.schedule_run(**request)
    with pytest.raises(client.exceptions.LimitExceededException):
        client.schedule_run(**request)
    peer.faults.buckets["GetUpload"] = Bucket(2, 0.0)
    for _ in range(2):
        client.get_upload(arn=request["appArn"])
    with pytest.raises(botocore.exceptions.ClientError, match="ThrottlingException"):
        client.get_upload(arn=request["appArn"])


def test_a_lost_answer_is_a_run_that_exists(peer: AwsPeer, client: Any) -> None:
    request = resources(peer, client)
    peer.faults.lose_answer.append("ScheduleRun")
    with pytest.raises((botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError)):
        client.schedule_run(**request)
    assert [run["name"] for run in client.list_runs(arn=peer.project)["runs"]] == ["run-1"]


def test_server_errors(peer: AwsPeer, client: Any) -> None:
    peer.faults.refuse["GetProject"] = [Refused("ServiceUnavailable", "later", 503)]
    with pytest.raises(botocore.exceptions.ClientError, match="ServiceUnavailable"):
        client.get_project(arn=peer.project)
    assert client.get_project(arn=peer.project)["project"]["arn"] == peer.project


@pytest.mark.heavy
def test_stopping_bills_what_ran(peer: AwsPeer, client: Any) -> None:
    request = resources(peer, client)
    peer.faults.outcomes += [Outcome(minutes=30), Outcome(minutes=30)]
    began, waits = [client.schedule_run(**request)["run"]["arn"] for _ in range(2)]
    client.stop_run(arn=waits)
    assert client.get_run(arn=waits)["run"]["deviceMinutes"]["total"] == 0
    for _ in range(10):
        peer.clock.advance(15)
        status(client, began)
    client.stop_run(arn=began)
    run = wait(peer, client, began)
    assert run["result"] == "STOPPED"
    assert 0 < run["deviceMinutes"]["metered"] < 3
    with pytest.raises(client.exceptions.ArgumentException):
        client.stop_run(arn=began)


def test_a_pool_has_rules_with_json_in_a_string(peer: AwsPeer, client: Any) -> None:
    def rules(value: str) -> list[dict[str, str]]:
        return [{"attribute": "PLATFORM", "operator": "EQUALS", "value": value}]

    with pytest.raises(client.exceptions.ArgumentException):
        client.create_device_pool(projectArn=peer.project, name="p", rules=rules("ANDROID"))
    pool = client.create_device_pool(projectArn=peer.project, name="p", rules=rules('"IOS"'), maxDevices=1)
    request = resources(peer, client)
    del request["deviceSelectionConfiguration"]
    run = client.schedule_run(**request, devicePoolArn=pool["devicePool"]["arn"])["run"]
    jobs = client.list_jobs(arn=run["arn"])["jobs"]
    assert [job["device"]["platform"] for job in jobs] == ["IOS"]


def test_a_selection_without_devices_is_skipped(peer: AwsPeer, client: Any) -> None:
    request = resources(peer, client)
    nothing = [{"attribute": "MODEL", "operator": "EQUALS", "values": ["Nokia 3310"]}]
    request["deviceSelectionConfiguration"]["filters"] = nothing
    run = client.schedule_run(**request)["run"]
    assert (run["status"], run["result"], run["totalJobs"]) == ("COMPLETED", "SKIPPED", 0)
    assert run["deviceSelectionResult"]["matchedDevicesCount"] == 0


def test_devices_are_paged_and_filtered(peer: AwsPeer, client: Any) -> None:
    pages = list(client.get_paginator("list_devices").paginate(arn=peer.project))
    assert (len(pages), sum(len(page["devices"]) for page in pages)) == (3, 7)
    newer = [
        {"attribute": "OS_VERSION", "operator": "GREATER_THAN_OR_EQUALS", "values": ["14"]},
        {"attribute": "PLATFORM", "operator": "EQUALS", "values": ["ANDROID"]},
    ]
    found = client.list_devices(filters=newer)["devices"]
    assert {one["name"] for one in found} == {"Google Pixel 8", "Samsung Galaxy S24"}


def test_a_put_needs_its_signature_and_no_other_credentials(peer: AwsPeer, client: Any) -> None:
    made = client.create_upload(projectArn=peer.project, name="a.apk", type="ANDROID_APP")["upload"]
    assert put(made["url"].split("?")[0], b"x") == 403
    request = urllib.request.Request(made["url"], b"x", method="PUT", headers={"Authorization": "AWS4 x"})
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request)
    assert client.get_upload(arn=made["arn"])["upload"]["status"] == "INITIALIZED"
