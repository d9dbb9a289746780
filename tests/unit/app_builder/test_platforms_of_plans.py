"""Which platforms a plan needs apps for."""

from __future__ import annotations

import pytest

from windtunnel.app_builder import Platform
from windtunnel.app_builder.domain.platforms import platforms_of
from windtunnel.plan import DeviceFilter


@pytest.mark.parametrize(
    ("filters", "needed"),
    [
        ([], ()),
        ([DeviceFilter("local"), DeviceFilter("arm")], (Platform.HOST,)),
        ([DeviceFilter("local", platform=("android",))], (Platform.HOST,)),
        ([DeviceFilter(farm) for farm in ("adb", "firebase", "ddp", "aws")], (Platform.ANDROID,)),
        ([DeviceFilter("aws", platform=("ios", "android")), DeviceFilter("arm")],
         (Platform.IOS, Platform.ANDROID, Platform.HOST)),
        ([DeviceFilter("firebase", platform=("windows",))], ()),
    ],
)  # fmt: skip
def test_platforms(filters: list[DeviceFilter], needed: tuple[Platform, ...]) -> None:
    assert platforms_of(filters) == needed
