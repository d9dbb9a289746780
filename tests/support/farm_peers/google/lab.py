"""What the simulated Test Lab has: phones, and what is to happen on them.

The rest is real: packages are opened, the model is measured by the LiteRT runtime of this host.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from support.farm_peers.google.virtual_clock import VirtualClock


def _phone(model: str, name: str, versions: list[str], **more: Any) -> dict[str, Any]:
    capacity = more.pop("capacity", "DEVICE_CAPACITY_HIGH")
    phone = {
        "id": model,
        "name": name,
        "codename": model,
        "brand": "Google",
        "manufacturer": "Google",
        "form": "PHYSICAL",
        "formFactor": "PHONE",
        "screenX": 1080,
        "screenY": 2400,
        "screenDensity": 420,
        "supportedAbis": ["arm64-v8a", "armeabi-v7a"],
        "supportedVersionIds": versions,
        "perVersionInfo": [{"versionId": version, "deviceCapacity": capacity} for version in versions],
    }
    return {**phone, **more}


PHONES = (
    _phone("MediumPhone.arm", "Medium Phone (Arm)", ["30", "34"], form="VIRTUAL", brand="Generic",
           manufacturer="Generic", supportedAbis=["arm64-v8a"]),
    _phone("shiba", "Pixel 8", ["34"]),
    _phone("oriole", "Pixel 6", ["31", "33"], tags=["default"], capacity="DEVICE_CAPACITY_MEDIUM"),
    _phone("b0q", "Galaxy S22 Ultra", ["33"], brand="Samsung", manufacturer="Samsung"),
    _phone("x1q", "Galaxy S20", ["29"], brand="Samsung", manufacturer="Samsung", capacity="DEVICE_CAPACITY_NONE"),
    _phone("gts8", "Galaxy Tab S8", ["33"], brand="Samsung", manufacturer="Samsung", formFactor="TABLET"),
    _phone("Nexus6", "Nexus 6", ["21"], form="EMULATOR", supportedAbis=["x86"], tags=["deprecated"]),
    _phone("tango", "Partner's phone", ["34"], accessDeniedReasons=["EULA_NOT_ACCEPTED"], brand="Other",
           manufacturer="Other", labInfo={"name": "partner/lab", "regionCode": "KR"}),
)  # fmt: skip
_VERSIONS = {"21": "5.0.x", "29": "10.x", "30": "11.x", "31": "12.x", "33": "13.x", "34": "14.x"}
ANDROID_CATALOG: dict[str, Any] = {
    "androidDeviceCatalog": {
        "models": list(PHONES),
        "versions": [
            {"id": version, "apiLevel": int(version), "versionString": name, "codeName": name}
            for version, name in _VERSIONS.items()
        ],
        "runtimeConfiguration": {
            "locales": [{"id": "en", "name": "English", "tags": ["default"]}, {"id": "de_CH", "name": "German"}],
            "orientations": [{"id": "portrait", "name": "Portrait", "tags": ["default"]},
                             {"id": "landscape", "name": "Landscape"}],
        },
    }
}  # fmt: skip
IOS_CATALOG: dict[str, Any] = {
    "iosDeviceCatalog": {
        "models": [{"id": "iphone14pro", "name": "iPhone 14 Pro", "supportedVersionIds": ["16.6"]}],
        "versions": [{"id": "16.6", "majorVersion": 16, "minorVersion": 6}],
        "xcodeVersions": [],
        "runtimeConfiguration": {},
    }
}  # fmt: skip


@dataclass(frozen=True)
class Behavior:
    """What happens to a matrix. Times are virtual seconds.

    `outcome` is the step's in the words of Tool Results, None: what really happened. `execution_state` and
    `matrix_state` are what the states end as. `invalid`: the matrix is refused with these details. `crash` ends the
    process of the app before the benchmark's summary: "native", "oom" or "hang". `billed_s` None: the time it ran.
    """

    validating_s: float = 2.0
    executions_after_s: float = 4.0
    pending_s: float = 10.0
    run_s: float = 70.0
    billed_s: float | None = None
    outcome: Mapping[str, Any] | None = None
    execution_state: str = "FINISHED"
    matrix_state: str = "FINISHED"
    invalid: str = ""
    error_message: str = ""
    result_url: bool = True
    crash: str = ""
    # The scenario of the crash; 0: the first.
    crashes_at: int = 0
    files_lost: bool = False
    steps_late: bool = False
    # The files come later than the step in Tool Results.
    files_late: bool = False
    rerun: bool = False

    @property
    def ends_after_s(self) -> float:
        """From the submission to the end."""
        return self.validating_s + self.pending_s + self.run_s


INFRASTRUCTURE = Behavior(
    outcome={"summary": "inconclusive", "inconclusiveDetail": {"infrastructureFailure": True}},
    execution_state="ERROR", error_message="Infrastructure failure", billed_s=0.0,
)  # fmt: skip
# As gcloud words it: "unexpectedly reached final status ERROR without returning a URL to any test results".
NO_RESULT_URL = Behavior(matrix_state="ERROR", execution_state="ERROR", result_url=False, files_lost=True, billed_s=0.0)


@dataclass(frozen=True)
class Received:
    """What reached a phone: sha256 of the files by their paths there, and of the packages."""

    matrix: str
    device: str
    files: Mapping[str, str]
    packages: tuple[str, ...]
    # Of the model that was measured; empty: none was found.
    model: str = ""


@dataclass
class Lab:
    """The state that the services share; `lock` guards it."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    # For the next submissions, in order; then `usual`.
    coming: list[Behavior] = field(default_factory=list)
    # For a model of phone, before `coming`.
    for_model: dict[str, list[Behavior]] = field(default_factory=dict)
    usual: Behavior = field(default_factory=Behavior)
    received: list[Received] = field(default_factory=list)
    histories: list[dict[str, Any]] = field(default_factory=list)
    executions: list[dict[str, Any]] = field(default_factory=list)
    # By (history, execution).
    steps: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    page_size: int = 2
    lock: threading.RLock = field(default_factory=threading.RLock)
    _numbers: int = 0

    def next_behavior(self, model: str) -> Behavior:
        """What is to happen to the next matrix for a model of phone."""
        if self.for_model.get(model):
            return self.for_model[model].pop(0)
        return self.coming.pop(0) if self.coming else self.usual

    def number(self) -> int:
        """Counts up: ids."""
        with self.lock:
            self._numbers += 1
            return self._numbers


def phone_of(model: str) -> Mapping[str, Any] | None:
    """The phone with this model id."""
    return next((phone for phone in PHONES if phone["id"] == model), None)
