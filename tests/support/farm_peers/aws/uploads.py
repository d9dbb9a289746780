"""Uploads: created, filled by a presigned PUT, processed."""

from __future__ import annotations

import hashlib
import io
import uuid
import zipfile
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from support.farm_peers.aws.api import Refused, bad_argument
from support.farm_peers.aws.clock import VirtualClock
from support.farm_peers.aws.faults import Faults

APP_LIMIT: Final = 4 << 30
_PHASES: Final = frozenset({"install", "pre_test", "test", "post_test"})


@dataclass
class Upload:
    """One upload; `content` None: nothing has arrived. `processed_at`: when it will be processed."""

    arn: str
    name: str
    type: str
    created: float
    url: str
    content_type: str
    status: str = "INITIALIZED"
    message: str = ""
    content: bytes | None = None
    processed_at: float = 0.0

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content or b"").hexdigest()

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        shown = {
            "arn": self.arn, "name": self.name, "type": self.type, "created": self.created, "status": self.status,
            "url": self.url, "contentType": self.content_type, "category": "PRIVATE",
        }  # fmt: skip
        return {**shown, "message": self.message} if self.message else shown


@dataclass
class Uploads:
    """All uploads of a project."""

    project: str
    clock: VirtualClock
    faults: Faults
    base_url: str = ""
    processing_s: float = 20.0
    by_arn: dict[str, Upload] = field(default_factory=dict)

    def create(self, name: str, kind: str, content_type: str) -> Upload:
        """Implements CreateUpload."""
        _check_name(name, kind)
        project = self.project.rsplit(":", 1)[1]
        identity = str(uuid.uuid4())
        arn = f"{self.project.rsplit(':', 2)[0]}:upload:{project}/{identity}"
        signed = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host&X-Amz-Expires=86400&X-Amz-Signature=aa11"
        url = f"{self.base_url}/uploads/{identity}/{name}?{signed}"
        made = Upload(arn, name, kind, self.clock.now(), url, content_type)
        self.by_arn[arn] = made
        return made

    def get(self, arn: str, *types: str) -> Upload:
        """The upload of an ARN, with its state now."""
        found = self.by_arn.get(arn)
        if found is None:
            raise Refused("NotFoundException", f"No upload was found for {arn}")
        if types and found.type not in types:
            raise bad_argument(f"Upload {arn} has type {found.type}, needed is {' or '.join(types)}")
        self._process(found)
        return found

    def put(self, identity: str, content: bytes) -> int:
        """Implements the PUT; returns the status of HTTP."""
        if self.faults.failed_puts > 0:
            self.faults.failed_puts -= 1
            return 503
        found = next((one for arn, one in self.by_arn.items() if arn.endswith(f"/{identity}")), None)
        if found is None:
            return 403
        found.content, found.status = content, "PROCESSING"
        found.processed_at = self.clock.now() + self.processing_s
        return 200

    def _process(self, upload: Upload) -> None:
        if upload.status != "PROCESSING" or self.clock.now() < upload.processed_at:
            return
        message = self.faults.upload_failures.pop(0) if self.faults.upload_failures else _wrong_content(upload)
        upload.status, upload.message = ("FAILED", message) if message else ("SUCCEEDED", "")


def _check_name(name: str, kind: str) -> None:
    ending: dict[str, tuple[str, ...]] = {
        "ANDROID_APP": (".apk",),
        "IOS_APP": (".ipa",),
        "INSTRUMENTATION_TEST_PACKAGE": (".apk",),
    }
    ending |= {"XCTEST_UI_TEST_PACKAGE": (".ipa", ".zip")}
    allowed = ending.get(kind, (".yml", ".yaml", ".zip") if kind.endswith("_TEST_SPEC") else (".zip",))
    if kind == "WEB_APP":
        raise bad_argument("WEB_APP uploads cannot be created")
    if "/" in name:
        raise bad_argument(f"The name {name!r} contains a slash")
    if not name.endswith(allowed):
        raise bad_argument(f"The name {name!r} of a {kind} must end with {' or '.join(allowed)}")


def _wrong_content(upload: Upload) -> str:
    """Why the service refuses what arrived; empty: it does not."""
    content = upload.content or b""
    if upload.type.endswith("_TEST_SPEC"):
        return _wrong_spec(content)
    if len(content) > APP_LIMIT:
        return "The file is larger than 4 GB."
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            broken, names = archive.testzip(), archive.namelist()
    except (zipfile.BadZipFile, EOFError):
        return "We could not open your file. Please verify that the file is valid and try again."
    if broken:
        return f"We could not extract {broken} of your file."
    return _wrong_names(upload.type, names)


def _wrong_names(kind: str, names: list[str]) -> str:
    if kind in {"ANDROID_APP", "INSTRUMENTATION_TEST_PACKAGE"} and "AndroidManifest.xml" not in names:
        return "We could not extract the AndroidManifest.xml file from your application."
    if kind == "IOS_APP" and not any(name.startswith("Payload/") and ".app/" in name for name in names):
        return "We could not find the Payload directory inside your application."
    if kind.endswith("PYTHON_TEST_PACKAGE"):
        tests = [name for name in names if name.startswith("tests/") and name.endswith(".py")]
        if not tests:
            return "We could not find the tests directory inside your test package."
        if not any(name.rsplit("/", 1)[1].startswith("test_") or name.endswith("_test.py") for name in tests):
            return "We could not find a valid test file in the tests directory inside your test package."
        if "requirements.txt" not in names:
            return "We could not find the requirements.txt file inside your test package."
    return ""


def _wrong_spec(content: bytes) -> str:
    try:
        spec = yaml.safe_load(content)
    except yaml.YAMLError:
        return "The test spec is not valid YAML."
    if not isinstance(spec, dict) or spec.get("version") != 0.1 or not isinstance(spec.get("phases"), dict):
        return "The test spec needs version 0.1 and phases."
    if set(spec["phases"]) - _PHASES or set(spec) - {
        "version",
        "android_test_host",
        "ios_test_host",
        "phases",
        "artifacts",
    }:
        return "The test spec has keys that are not known."
    commands = [command for phase in spec["phases"].values() for command in (phase or {}).get("commands") or ()]
    if not all(isinstance(command, str) for command in commands):
        return "Every command of the test spec must be a string."
    return ""
