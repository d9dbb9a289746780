"""Device Run's sessions: their configuration, the phone that runs an executable, and their reports."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from support.farm_peers.google.discovery import api
from support.farm_peers.google.gcloud_flags import Given
from support.farm_peers.google.google_errors import GoogleError, invalid_argument
from support.farm_peers.google.virtual_clock import VirtualClock

_REAL_LIMIT_S = 60


def _device(name: str, title: str, version: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "displayName": title, "osVersion": version, "platform": "ANDROID", "hardwareType": "PHYSICAL",
        "formFactor": "PHONE", "manufacturer": "Google", "modelCode": name.rpartition("-")[0],
        "androidDetails": {"supportedAbis": ["arm64-v8a"]},
        "availability": {"available": "AVAILABILITY_HIGH", "capacity": "CAPACITY_HIGH"},
        "lifecycle": {"state": "ACTIVE"}, "supportedProducts": [{"automation": {}}], **more,
    }  # fmt: skip


DEVICES = (
    _device("mediumphone-arm-34", "Medium Phone", "34", hardwareType="VIRTUAL", manufacturer="Generic"),
    _device("shiba-34", "Pixel 8", "34"),
    _device("caiman-35", "Pixel 9 Pro", "35"),
    _device("pa3q-35", "Galaxy S25 Ultra", "35", manufacturer="Samsung",
            availability={"available": "AVAILABILITY_NONE", "capacity": "CAPACITY_LOW"}),
    _device("tango-34", "Partner's phone", "34", accessDeniedReasons=["EULA_NOT_ACCEPTED"]),
    _device("iphone15-17", "iPhone 15", "17.4", platform="IOS", manufacturer="Apple"),
    _device("streamonly-34", "For streaming only", "34", supportedProducts=[{"deviceStreaming": {}}]),
)  # fmt: skip


class Bucket:
    """Cloud Storage over its JSON API.

    Args:
        url: of the server.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def put(self, bucket: str, name: str, data: bytes) -> str:
        """Stores an object. Returns its URI."""
        url = f"{self._url}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
        request = urllib.request.Request(url, data, {"Content-Type": "application/octet-stream"}, method="POST")
        self._ask(request)
        return f"gs://{bucket}/{name}"

    def get(self, uri: str) -> bytes:
        """The data of a gs:// URI."""
        match = re.fullmatch(r"gs://([^/]+)/(.+)", uri)
        if match is None:
            raise invalid_argument(f"{uri} is not a Cloud Storage path", "path")
        url = f"{self._url}/storage/v1/b/{match[1]}/o/{quote(match[2], safe='')}?alt=media"
        return self._ask(urllib.request.Request(url))

    def _ask(self, request: urllib.request.Request) -> bytes:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                data: bytes = answer.read()
                return data
        except urllib.error.HTTPError as error:
            with error:
                text = json.loads(error.read())["error"]
            raise GoogleError(text["status"], text["message"]) from error


def submitted(given: Given, state: dict[str, Any], bucket: Bucket) -> dict[str, Any]:
    """A new session of `submit android-executable`: local files are uploaded, everything is checked."""
    state["number"] += 1
    name = f"session-{state['number']:08x}"
    target = given.value("bucket-name") or state["bucket"]
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]+", target):
        raise given.refuse(f"argument --bucket-name: Bad value [{target}]")
    inputs = f"automation/inputs/{name}"

    def uploaded(source: str) -> dict[str, Any]:
        if not source.startswith("gs://"):
            if not Path(source).is_file():
                raise given.refuse(f"[{source}] not found or is not a file.", 1)
            source = bucket.put(target, f"{inputs}/{Path(source).name}", Path(source).read_bytes())
        return {"gcsInputFile": {"path": source}}

    pushes = [
        {"sourceFile": uploaded(source), "destinationPath": path}
        for source, path in given.pairs("other-files-to-push").items()
    ]
    binary = {
        "androidNativeBinary": uploaded(given.value("executable")),
        "args": given.values("executable-args"),
        "envVars": given.pairs("executable-env-vars"),
        "executionTimeout": f"{_seconds(given):g}s",
    }
    config = {
        "displayName": "executable-session",
        "outputDirectoryConfig": {"gcsOutputDirectory": {"path": f"gs://{target}/automation/sessions"}},
        "jobConfigs": [
            {
                "action": {"androidNativeBinary": binary},
                "allocationConfig": {"deviceConfigs": [_device_config(given, device, pushes)]},
                "labels": given.pairs("labels"),
                "settings": {"retrySettings": {"flakyTestRetryStrategy": {
                    "flakyTestAttempts": int(given.value("flaky-test-attempts", "1"))}}},
            }
            for device in given.values("device")
        ],
    }  # fmt: skip
    api("devicerun.v1alpha").check_value({"$ref": "SessionConfig"}, config, "session_config")
    _check(config)
    return {
        "name": f"projects/{given.value('project')}/locations/{given.value('location', 'global')}/sessions/{name}",
        "config": config, "created": state["now"], "bucket": target, "ended": None, "report": None,
    }  # fmt: skip


def _device_config(given: Given, device: str, pushes: list[dict[str, Any]]) -> dict[str, Any]:
    actions: list[dict[str, Any]] = []
    if pushes:
        actions.append({"androidPushFiles": {"fileConfigs": pushes}})
    if paths := given.values("paths-to-pull"):
        actions.append({"androidPullFiles": {"paths": paths}})
    return {"requirement": {"deviceId": device}, "actions": [*actions, {"androidLogcat": {}}]}


def _seconds(given: Given) -> float:
    text = given.value("executable-timeout", "5m")
    match = re.fullmatch(r"(\d+)([smh]?)", text)
    if match is None:
        raise given.refuse(f"argument --executable-timeout: Failed to parse duration: {text}")
    return float(match[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[match[2]]


def _check(config: Mapping[str, Any]) -> None:
    """Limits of the API's description. Raises GoogleError."""
    known = {device["name"] for device in DEVICES}
    for job in config["jobConfigs"]:
        binary = job["action"]["androidNativeBinary"]
        device = job["allocationConfig"]["deviceConfigs"][0]
        if device["requirement"]["deviceId"] not in known:
            raise invalid_argument(f"Device {device['requirement']['deviceId']} is not in the catalog", "device_id")
        if len(binary["args"]) > 64 or any(len(item.encode()) > 1024 for item in binary["args"]):
            raise invalid_argument("at most 64 args of 1024 bytes", "args")
        if not 60 <= float(binary["executionTimeout"][:-1]) <= 3 * 3600:
            raise invalid_argument("execution_timeout must be between 1 minute and 3 hours", "execution_timeout")
        if len(job["labels"]) > 16 or any(len(key) > 32 or len(value) > 1024 for key, value in job["labels"].items()):
            raise invalid_argument("at most 16 labels", "labels")
        for action in device["actions"]:
            if len(action.get("androidPushFiles", {}).get("fileConfigs", [])) > 50:
                raise invalid_argument("A maximum of 50 files are allowed", "file_configs")
            if len(action.get("androidPullFiles", {}).get("paths", [])) > 10:
                raise invalid_argument("A maximum of 10 paths are allowed", "paths")


def show(session: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """The session as the API answers it now."""
    behavior, age = session["behavior"], state["now"] - session["created"]
    status = "PENDING"
    if session["ended"] is not None:
        status = "DONE"
    elif age >= behavior["pending_s"] + behavior["suspended_s"] + behavior["run_s"]:
        end_session(session, state, behavior["result"])
        status = "DONE"
    elif age >= behavior["pending_s"] + behavior["suspended_s"]:
        status = "RUNNING"
    elif behavior["suspended_s"] and age >= behavior["pending_s"]:
        status = "SUSPENDED"
    report = session["report"] or {"status": {"statusType": status}, "jobReports": []}
    return {
        "name": session["name"],
        "createTime": VirtualClock().text(session["created"]),
        "sessionConfig": session["config"],
        "sessionReport": report,
    }


def end_session(session: dict[str, Any], state: dict[str, Any], result: str) -> None:
    """Runs the executable on each device, unless the result is given, and writes the report."""
    behavior = session["behavior"]
    began = session["created"] + behavior["pending_s"] + behavior["suspended_s"]
    session["ended"] = state["now"]
    jobs = []
    for index, config in enumerate(session["config"]["jobConfigs"]):
        folder = f"automation/sessions/{session['name'].rpartition('/')[2]}/job-{index:03}/execution-000"
        passed, files = True, {"logcat.txt": _NOISE}
        if result not in ("CANCELLED", "ERROR"):
            passed, more = _run(config, state, behavior.get("damaged", ""))
            files |= more
        kind = result or ("PASSED" if passed else "FAILED")
        outputs = [] if behavior["files_lost"] or kind == "CANCELLED" else [
            {"gcsOutputFile": {"path": Bucket(state["storage"]).put(session["bucket"], f"{folder}/{name}", data)}}
            for name, data in files.items()
        ]  # fmt: skip
        done = {"status": {"statusType": "DONE"}, "result": _result(kind, behavior)}
        times = {"startTime": VirtualClock().text(min(began, state["now"])),
                 "endTime": VirtualClock().text(min(began + behavior["run_s"], state["now"]))}  # fmt: skip
        execution = {"id": f"{index}", "displayName": "execution-000", "outputFiles": outputs, **done, **times}
        jobs.append({"id": f"{index}", "displayName": f"job-{index:03}", "labels": config["labels"], **done, **times,
                     "executionReports": [execution]})  # fmt: skip
    kinds = {job["result"]["resultType"] for job in jobs}
    kind = next((one for one in ("CANCELLED", "ERROR", "TIMED_OUT", "FAILED") if one in kinds), "PASSED")
    session["report"] = {
        "id": "uuid", "status": {"statusType": "DONE"}, "result": _result(kind, behavior), "jobReports": jobs,
        "startTime": jobs[0]["startTime"], "endTime": jobs[0]["endTime"],
    }  # fmt: skip


_NOISE = b"11-30 04:26:00.000  1022  1044 I chatty  : uid=1000 expire 2 lines\n"


def _result(kind: str, behavior: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "PASSED":
        return {"resultType": kind}
    summary = {
        "message": behavior["message"] or f"The executable ended as {kind}.",
        "reason": behavior["reason"] or kind,
    }
    if behavior["cause"]:
        summary["type"] = behavior["cause"]
    return {"resultType": kind, "cause": {"summary": summary}}


def _run(config: Mapping[str, Any], state: dict[str, Any], damaged: str) -> tuple[bool, dict[str, bytes]]:
    """On the phone: a folder whose paths are put in place of the phone's."""
    bucket = Bucket(state["storage"])
    binary = config["action"]["androidNativeBinary"]
    device = config["allocationConfig"]["deviceConfigs"][0]
    received = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "data/local/tmp").mkdir(parents=True)
        (root / "sdcard").mkdir()
        for action in device["actions"]:
            for push in action.get("androidPushFiles", {}).get("fileConfigs", []):
                data = bucket.get(push["sourceFile"]["gcsInputFile"]["path"])
                if damaged and push["destinationPath"].endswith(damaged):
                    data = data[:-1] + bytes([data[-1] ^ 1])
                _place(root, push["destinationPath"], data)
                received[push["destinationPath"]] = hashlib.sha256(data).hexdigest()
        program = _place(
            root,
            "/data/local/tmp/executable",
            _of_root(bucket.get(binary["androidNativeBinary"]["gcsInputFile"]["path"]), root),
        )
        program.chmod(0o755)
        state["received"].append({"device": device["requirement"]["deviceId"], "files": received})
        tools = root / "system/bin"
        for name, text in _TOOLS.items():
            _place(root, f"/system/bin/{name}", f"#!/bin/sh\n{text}\n".encode()).chmod(0o755)
        arguments = [_of_root(item.encode(), root).decode() for item in binary["args"]]
        environment = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            **{key: _of_root(value.encode(), root).decode() for key, value in binary["envVars"].items()},
        }
        limit = min(float(binary["executionTimeout"][:-1]), _REAL_LIMIT_S)
        try:
            ended = subprocess.run(
                [program, *arguments], capture_output=True, env=environment, cwd=root, timeout=limit, check=False
            )
            passed = ended.returncode == 0
        except subprocess.TimeoutExpired:
            passed = False
        pulled: dict[str, bytes] = {}
        for action in device["actions"]:
            for path in action.get("androidPullFiles", {}).get("paths", []):
                pulled |= _pulled(root, path)
    return passed, pulled


_BATTERY = "Current Battery Service state:\n  level: 83\n  scale: 100\n  temperature: 271"
_TOOLS = {
    "getprop": "case $1 in ro.serialno) echo 39081FDJH0001 ;; esac",
    "dumpsys": f'case $1 in battery) echo "{_BATTERY}" ;; thermalservice) echo "Thermal Status: 0" ;; esac',
}


def _place(root: Path, path: str, data: bytes) -> Path:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return target


def _of_root(data: bytes, root: Path) -> bytes:
    """Paths on the phone in a script or an argument, below the folder that stands for it; binaries stay as they are."""
    if data.startswith((b"#!/system", b"/", b"--", b"-")):
        data = data.replace(b"#!/system/bin/sh", b"#!/bin/sh")
        return re.sub(rb"(?<![\w./])/(data/local/tmp|sdcard)", str(root).encode() + rb"/\1", data)
    return data


def _pulled(root: Path, path: str) -> dict[str, bytes]:
    source = root / path.lstrip("/")
    files = [source] if source.is_file() else sorted(one for one in source.rglob("*") if one.is_file())
    return {f"artifacts/{one.relative_to(root)}": one.read_bytes() for one in files}
