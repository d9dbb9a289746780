"""`windtunnel devices`: filters, the table, and what a farm that fails changes."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from click.testing import CliRunner, Result

from windtunnel.cli.commands.server.devices import devices
from windtunnel.cli.home import farm_access
from windtunnel.v1 import farm_dispatcher_pb2 as pb
from windtunnel.v1 import types_pb2

PIXEL = pb.Device(
    farm="aws", name="Google Pixel 8", os_version="14.1", accelerators=["cpu", "xnnpack", "gpu"], maker="Google",
    device_platform=types_pb2.PLATFORM_ANDROID, kind=pb.Device.KIND_PHYSICAL, price_micro_usd=170_000, soc="Tensor G3",
)  # fmt: skip
VIRTUAL = pb.Device(
    farm="ftl", name="MediumPhone.arm", os_version="30", accelerators=["cpu"], title="Medium Phone",
    device_platform=types_pb2.PLATFORM_ANDROID, kind=pb.Device.KIND_VIRTUAL, price_micro_usd=16_700, unavailable=True,
)  # fmt: skip
HOST = pb.Device(farm="local", name="host", platform="host", os_version="12", accelerators=["cpu", "xnnpack"])


class Access:
    def __init__(self, answer: pb.ListDevicesResponse) -> None:
        self._answer = answer

    async def devices(self, farms: Sequence[str]) -> pb.ListDevicesResponse:
        return self._answer


def listed(monkeypatch: pytest.MonkeyPatch, *arguments: str, **answer: Any) -> Result:
    given = pb.ListDevicesResponse(**{"devices": [PIXEL, VIRTUAL, HOST], "farms": ["aws", "ftl", "local"], **answer})

    @asynccontextmanager
    async def access(farms_file: object) -> AsyncIterator[Access]:
        yield Access(given)

    monkeypatch.setattr(farm_access, "farm_access", access)
    return CliRunner().invoke(devices, [*arguments], standalone_mode=False)


def names(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[str]:
    return [one["device"] for one in json.loads(listed(monkeypatch, *arguments, "--json").stdout)]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), ["Google Pixel 8", "MediumPhone.arm", "host"]),
        (("--platform", "android"), ["Google Pixel 8", "MediumPhone.arm"]),
        (("--os-version", "14"), ["Google Pixel 8"]),
        (("--os-version", "1"), []),
        (("--kind", "virtual"), ["MediumPhone.arm"]),
        (("--kind", "host"), ["host"]),
        (("--accelerator", "GPU"), ["Google Pixel 8"]),
        (("--accelerator", "builtin"), ["Google Pixel 8", "MediumPhone.arm", "host"]),
        (("--name", "pixel"), ["Google Pixel 8"]),
        (("--name", "tensor google"), ["Google Pixel 8"]),
        (("--name", "medium"), ["MediumPhone.arm"]),
        (("--available",), ["Google Pixel 8", "host"]),
        (("--max-price", "0.0167"), ["MediumPhone.arm", "host"]),
        (("--max-price", "0"), ["host"]),
    ],
)
def test_filters(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], found: list[str]) -> None:
    assert names(monkeypatch, *arguments) == found


def test_the_json_has_exactly_the_promised_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.loads(listed(monkeypatch, "--json").stdout)[0]
    assert first == {
        "farm": "aws", "device": "Google Pixel 8", "name": "Google Pixel 8", "maker": "Google", "platform": "android",
        "os_version": "14.1", "form_factor": None, "kind": "physical", "soc": "Tensor G3",
        "accelerators": ["cpu", "xnnpack", "gpu"], "price_per_minute_usd": 0.17, "available": True,
    }  # fmt: skip


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = listed(monkeypatch).stdout.splitlines()
    assert lines[0].split() == ["FARM", "DEVICE", "NAME", "SYSTEM", "KIND", "PER", "MINUTE", "ACCELERATORS"]
    assert "android 14.1" in lines[1] and "$0.17" in lines[1] and lines[1].endswith("builtin, xnnpack, gpu")
    assert "virtual, not available" in lines[2] and "$0.0167" in lines[2] and "Medium Phone" in lines[2]
    assert "free" in lines[3]


@pytest.mark.parametrize(("farms", "found", "code"), [(["local"], [HOST], 0), (["local"], [], 0), ([], [], 2)])
def test_a_farm_that_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, farms: list[str], found: list[pb.Device], code: int
) -> None:
    outages = [pb.FarmOutage(farm="aws", message="throttled", hint="wait")]
    result = listed(monkeypatch, "--json", devices=found, farms=farms, outages=outages)
    assert (result.return_value, len(json.loads(result.stdout))) == (code, len(found))
    assert result.stderr == "farm aws does not answer: throttled (wait)\n"


def test_names_from_outside_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = pb.Device(farm="aws", name="\x1b[31mred", platform="android", accelerators=["cpu"])
    assert "\x1b" not in listed(monkeypatch, devices=[evil]).stdout


def test_ten_thousand_devices_are_listed_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    many = pb.ListDevicesResponse()
    for number in range(10_000):
        many.devices.add().CopyFrom(PIXEL)
        many.devices[-1].name = f"Pixel {number}"
    started = time.process_time()
    result = listed(monkeypatch, devices=list(many.devices))
    assert len(result.stdout.splitlines()) == 10_001
    assert time.process_time() - started < 3.0
