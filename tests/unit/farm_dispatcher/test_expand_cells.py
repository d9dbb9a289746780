"""From device filters to cells: every combination is planned, what cannot run says why."""

from __future__ import annotations

import pytest

from windtunnel.errors import InvalidInput
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts
from windtunnel.farm_dispatcher.messages.cell_messages import cell_from_proto, cell_to_proto
from windtunnel.farm_dispatcher.use_cases.plan_cells import MAX_CELLS, Offer, expand
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.plan import DeviceFilter


def device(name: str, platform: str, os_version: str, *accelerators: str, farm: str = "adb") -> Device:
    return Device(farm, name, platform, os_version, accelerators, DeviceFacts(name))


LOCAL = Offer((device("host", "host", "12", "cpu", "xnnpack", farm="local"),), "xnnpack")
PHONES = Offer(
    (
        device("pixel8", "android", "14", "cpu", "xnnpack", "gpu"),
        device("pixel8", "android", "15", "cpu", "xnnpack", "gpu"),
        device("galaxy", "android", "13.1", "cpu", "nnapi"),
        device("iphone", "ios", "17", "cpu", "coreml"),
    ),
    "xnnpack",
)
OFFERS = {"local": LOCAL, "adb": PHONES}
Short = tuple[str, str, str, str, int, str]


def cells(*filters: DeviceFilter) -> list[Short]:
    return [
        (c.device, c.platform, c.os_version, c.accelerator, c.threads, c.skip_reason)
        for c in expand("run", "int8", filters, OFFERS)
    ]


HOST = ("host", "host", "12")
TABLE: list[tuple[str, DeviceFilter, list[Short]]] = [
    ("nothing but the farm", DeviceFilter("local"), [(*HOST, "xnnpack", 1, "")]),
    (
        "lists are expanded in the plan's order",
        DeviceFilter("local", accelerator=("xnnpack", "cpu"), threads=(1, 4)),
        [(*HOST, "xnnpack", 1, ""), (*HOST, "xnnpack", 4, ""), (*HOST, "cpu", 1, ""), (*HOST, "cpu", 4, "")],
    ),
    (
        "an accelerator that the device has not",
        DeviceFilter("local", accelerator=("gpu", "cpu")),
        [
            (*HOST, "gpu", 1, "accelerator 'gpu' is not on device 'host': the local farm has cpu and xnnpack there"),
            (*HOST, "cpu", 1, ""),
        ],
    ),
    (
        "an unknown device, with the nearest",
        DeviceFilter("adb", device=("pixle8",)),
        [("pixle8", "", "", "xnnpack", 1, "the adb farm has no device 'pixle8'; did you mean 'pixel8'?")],
    ),
    (
        "an unknown device, like none",
        DeviceFilter("adb", device=("zzz",), threads=(2,)),
        [("zzz", "", "", "xnnpack", 2, "the adb farm has no device 'zzz'; it has pixel8, galaxy and iphone")],
    ),
    (
        "a device is all of its versions; the default accelerator is one that it has",
        DeviceFilter("adb", device=("pixel8", "galaxy")),
        [
            ("pixel8", "android", "14", "xnnpack", 1, ""),
            ("pixel8", "android", "15", "xnnpack", 1, ""),
            ("galaxy", "android", "13.1", "cpu", 1, ""),
        ],
    ),
    (
        "a platform",
        DeviceFilter("adb", platform=("ios",)),
        [("iphone", "ios", "17", "cpu", 1, "")],
    ),
    (
        "a version means its minor ones",
        DeviceFilter("adb", os_version=("13", "15")),
        [("galaxy", "android", "13.1", "cpu", 1, ""), ("pixel8", "android", "15", "xnnpack", 1, "")],
    ),
    (
        "a version is not a prefix of another number",
        DeviceFilter("adb", os_version=("1",)),
        [("", "", "1", "xnnpack", 1, "the adb farm has OS version 14, 15, 13.1 and 17, not '1'")],
    ),
    (
        "a platform that nothing has",
        DeviceFilter("adb", platform=("windows",)),
        [("", "windows", "", "xnnpack", 1, "the adb farm has platform android and ios, not 'windows'")],
    ),
    (
        "a device that is on another platform",
        DeviceFilter("adb", device=("iphone",), platform=("android",)),
        [("iphone", "android", "", "xnnpack", 1, "device 'iphone' has platform ios, not 'android'")],
    ),
    (
        "a farm that is not set up keeps what was asked for",
        DeviceFilter("firebase", device=("oriole",), accelerator=("gpu", "nnapi"), threads=(2,)),
        [
            ("oriole", "", "", "gpu", 2, "farm 'firebase' is not set up in this installation"),
            ("oriole", "", "", "nnapi", 2, "farm 'firebase' is not set up in this installation"),
        ],
    ),
    (
        "a farm that is not set up, and nothing more",
        DeviceFilter("aws"),
        [("", "", "", "", 1, "farm 'aws' is not set up in this installation")],
    ),
]


@pytest.mark.parametrize(("wanted", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_cells(wanted: DeviceFilter, expected: list[Short]) -> None:
    assert cells(wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        (DeviceFilter("local"), None),
        (DeviceFilter("adb", device=("pixle8",)), FailureKind.DEVICE),
        (DeviceFilter("adb", os_version=("1",)), FailureKind.DEVICE),
        (DeviceFilter("adb", platform=("windows",)), FailureKind.DEVICE),
        (DeviceFilter("local", accelerator=("gpu",)), FailureKind.UNSUPPORTED),
        (DeviceFilter("local", run_as=("app",)), FailureKind.UNSUPPORTED),
        (DeviceFilter("firebase", device=("oriole",)), FailureKind.UNSUPPORTED),
    ],
)
def test_a_skipped_cell_has_a_kind_that_travels(wanted: DeviceFilter, kind: FailureKind | None) -> None:
    (cell,) = expand("run", "int8", [wanted], OFFERS)
    assert cell.skip_kind is kind
    assert cell_from_proto(cell_to_proto(cell)).skip_kind is kind


def test_no_filters_mean_no_cells() -> None:
    assert cells() == []


def test_a_farm_without_devices_says_so() -> None:
    (cell,) = expand("run", "int8", [DeviceFilter("adb")], {"adb": Offer((), "xnnpack")})
    assert cell.skip_reason == "the adb farm has no devices now"


def test_a_cell_that_two_filters_mean_is_planned_once() -> None:
    both = cells(DeviceFilter("local", threads=(1, 2)), DeviceFilter("local", device=("host",), threads=(2, 3)))
    assert [row[4] for row in both] == [1, 2, 3]


def test_ids_follow_from_the_run_and_all_fields() -> None:
    def ids(run: str, variant: str, *filters: DeviceFilter) -> list[str]:
        return [cell.id for cell in expand(run, variant, filters, OFFERS)]

    wanted = DeviceFilter("adb", accelerator=("cpu", "gpu"), threads=(1, 2))
    first = ids("run", "int8", wanted)
    assert first == ids("run", "int8", wanted)
    assert len(set(first)) == len(first) == 16
    assert not set(first) & set(ids("run", "float32", wanted)) & set(ids("other", "int8", wanted))
    assert not set(first) & set(ids("run2", "int8", wanted))


def test_more_cells_than_anyone_wants_are_refused() -> None:
    """Repeats count: they cost as much as others."""
    most = DeviceFilter("local", threads=tuple(range(1, MAX_CELLS + 1)))
    assert len(cells(most)) == MAX_CELLS
    for filters in ((most, DeviceFilter("local", threads=(1,))), (DeviceFilter("adb", threads=(1,) * MAX_CELLS),)):
        with pytest.raises(InvalidInput, match=f"more than {MAX_CELLS} cells for variant 'int8'"):
            cells(*filters)
