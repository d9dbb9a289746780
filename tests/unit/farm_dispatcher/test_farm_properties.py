"""A farm states what it is, its cells carry it, and nobody asks for the farm's name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.farm_jobs import FolderFiles
from windtunnel.artifacts import ArtifactRef
from windtunnel.catalog import Catalog, CatalogEntry
from windtunnel.farm_dispatcher.adapters.fake_farm import FakeFarm
from windtunnel.farm_dispatcher.adapters.farm_registry import FARMS
from windtunnel.farm_dispatcher.adapters.host.arm_farm import ArmFarm
from windtunnel.farm_dispatcher.adapters.host.local_farm import LocalFarm
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.messages.cell_messages import cell_from_proto, cell_to_proto
from windtunnel.farm_dispatcher.use_cases.build_job import JobBuilder
from windtunnel.farm_dispatcher.use_cases.run_cells import Dispatcher
from windtunnel.farms.properties import EMULATED_HOST, KNOWN_FARMS, PHONES, THIS_HOST, FarmProperties, properties_of
from windtunnel.metrics_store.messages.decode_values import cell_spec
from windtunnel.plan import DeviceFilter
from windtunnel.service.protobuf_values import farm_properties_of
from windtunnel.v1 import types_pb2

ROOT = Path(__file__).parents[3]
STRANGE = FarmProperties(platform="android", emulated=True, times_count=False)


def cell(farm: str, properties: FarmProperties) -> Cell:
    return Cell("c-1", "int8", farm, "pixel", "android", "14", "cpu", 1, farm_properties=properties)


@pytest.mark.parametrize(("name", "adapter"), [("local", LocalFarm), ("arm", ArmFarm)])
def test_an_adapter_states_what_plans_expect_of_its_name(name: str, adapter: type) -> None:
    assert name in FARMS
    assert adapter.properties == KNOWN_FARMS[name]  # type: ignore[attr-defined]


async def no_catalog(entry: CatalogEntry) -> ArtifactRef:
    raise AssertionError(entry)


async def test_every_cell_carries_the_properties_of_its_farm() -> None:
    dispatcher = Dispatcher({"lab": FakeFarm(properties=STRANGE)}, JobBuilder(Catalog(), no_catalog), FolderFiles())
    filters = [DeviceFilter("lab", accelerator=("cpu", "gpu")), DeviceFilter("arm"), DeviceFilter("adb")]
    found = [(c.farm, c.farm_properties) for c in await dispatcher.plan("run", "int8", filters)]
    # Of farms that are not set up the names are known.
    assert found == [("lab", STRANGE), ("lab", STRANGE), ("arm", EMULATED_HOST), ("adb", PHONES)]


@pytest.mark.parametrize("properties", [STRANGE, THIS_HOST, PHONES, EMULATED_HOST])
def test_a_cell_keeps_them_on_the_wire(properties: FarmProperties) -> None:
    message = types_pb2.Cell.FromString(cell_to_proto(cell("arm", properties)).SerializeToString())
    assert cell_from_proto(message) == cell("arm", properties)
    assert farm_properties_of(message) == properties
    assert cell_spec(message).its_farm == properties


@pytest.mark.parametrize(
    ("farm", "properties"), [("local", THIS_HOST), ("arm", EMULATED_HOST), ("adb", PHONES), ("nobody's", PHONES)]
)
def test_an_event_of_an_older_writer_is_read_by_the_farms_name(farm: str, properties: FarmProperties) -> None:
    message = cell_to_proto(cell(farm, STRANGE))
    message.ClearField("farm_properties")
    assert farm_properties_of(message) == properties == properties_of(farm)
    assert cell_spec(message).times_count == properties.times_count
    assert cell_spec(message).app_platform == (properties.platform or "android")


def test_no_service_asks_for_the_name_of_a_farm() -> None:
    """Only the table of farms, the adapters and their registry name a farm."""
    names = "|".join(KNOWN_FARMS)
    asks = re.compile(rf"farm\w*\s*(==|!=|in|not in)\s*[(\[{{]?[\"']({names})[\"']|\b(HOST|EMULATED)_FARMS\b")
    allowed = ("shared/src/windtunnel/farms/properties.py", "shared/src/windtunnel/plan/", "farm_dispatcher/adapters/")
    sources = [path for folder in ("services", "diagnosis", "cli", "shared") for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 300
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources
        if not any(part in str(path.relative_to(ROOT)) for part in allowed)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if asks.search(line)
    ]
    assert found == []
