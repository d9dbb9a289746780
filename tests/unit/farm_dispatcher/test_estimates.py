"""What cells are expected to cost before they run, packed and alone."""

from __future__ import annotations

from decimal import Decimal

import pytest

from windtunnel.farm_dispatcher.domain.cells import Cell, RunAs
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts
from windtunnel.farm_dispatcher.domain.estimates import estimate
from windtunnel.farm_dispatcher.domain.farm_settings import FarmSettings

PRICE = Decimal("0.17")


def device(name: str, price: Decimal | None = PRICE) -> Device:
    return Device("aws", name, "android", "14", ("cpu",), DeviceFacts(name), price_per_minute_usd=price)


def cell(number: int, name: str, run_as: RunAs = "executable", **changes: str) -> Cell:
    fields = {"farm": "aws", "skip_reason": "", **changes}
    return Cell(
        f"c-{number}", "int8", fields["farm"], name, "android", "14", "cpu", 1, fields["skip_reason"], run_as=run_as
    )


@pytest.mark.parametrize(
    ("cells", "entries", "runs", "minutes", "cost", "unpacked"),
    [
        # 30 s to start and 20 s for each: 50 s, 110 s, 190 s.
        (1, 20, 1, 1, 170_000, 170_000),
        (4, 20, 1, 2, 340_000, 680_000),
        (8, 20, 1, 4, 680_000, 1_360_000),
        (21, 20, 2, 9, 1_530_000, 3_570_000),
        (4, 1, 4, 4, 680_000, 680_000),
    ],
)
def test_cells_of_a_device_share_started_minutes(
    cells: int, entries: int, runs: int, minutes: int, cost: int, unpacked: int
) -> None:
    farm = FarmSettings(name="aws", entries=entries)
    found = estimate(farm, [device("a")], [cell(number, "a") for number in range(cells)])
    assert found is not None
    assert (found.cells, found.farm_runs, found.billed_minutes) == (cells, runs, Decimal(minutes))
    assert (found.cost, found.unpacked) == (cost, unpacked)


def test_devices_and_ways_to_run_do_not_share() -> None:
    cells = [
        cell(1, "a"),
        cell(2, "b"),
        cell(3, "a", run_as="app"),
        cell(4, "a", farm="ftl"),
        cell(5, "a", skip_reason="no"),
    ]
    found = estimate(FarmSettings(name="aws", entries=20), [device("a"), device("b", Decimal("0.05"))], cells)
    assert found is not None
    assert (found.cells, found.farm_runs, found.cost) == (3, 3, 390_000)


def test_a_free_farm_has_no_cost() -> None:
    found = estimate(FarmSettings(name="aws"), [device("a", None)], [cell(1, "a")])
    assert found is not None
    assert (found.cells, found.billed_minutes) == (1, Decimal(0))
    assert found.cost is None and found.unpacked is None
    assert estimate(FarmSettings(name="aws"), [device("a")], [cell(1, "a", skip_reason="no")]) is None
