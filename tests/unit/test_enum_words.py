"""Text fields and the enums that replace them: each reader takes what old, present and newer writers send."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.message import Message

from windtunnel.bus import decode, encode
from windtunnel.cli.commands.runs import artifacts
from windtunnel.client.artifacts import read_artifact
from windtunnel.client.async_run import _progress as read_progress
from windtunnel.client.listing import _summary as read_summary
from windtunnel.enum_words import ARTIFACT_KIND, EXECUTION_KIND, PLATFORM, RUN_STATE, EnumWords
from windtunnel.errors import InvalidInput
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.messages.cell_messages import cell_from_proto, cell_to_proto
from windtunnel.metrics_store.domain import run_artifacts
from windtunnel.metrics_store.domain.facts import Built, NotBuilt
from windtunnel.metrics_store.messages.decode_events import read_event
from windtunnel.metrics_store.messages.decode_values import cell_spec
from windtunnel.plan import Plan, plan_from_proto, plan_to_proto
from windtunnel.plan.plan_values import DeviceFilter, VariantSpec
from windtunnel.v1 import artifacts_pb2, events_pb2, metrics_store_pb2, types_pb2

NEWER = 99


@pytest.mark.parametrize(
    ("enum", "words"),
    [
        (PLATFORM, "host android ios"),
        (RUN_STATE, "running completed"),
        (EXECUTION_KIND, "convert quantize compare build run measure judge diagnose"),
        (
            ARTIFACT_KIND,
            "trained_model plan float_model variant diagnosis app log samples report edge_log app_diagnosis",
        ),
    ],
)
def test_words_are_those_of_the_text_fields(enum: EnumWords, words: str) -> None:
    assert enum.words == tuple(words.split())
    assert [enum.read(enum.number(word), "") for word in enum.words] == list(enum.words)


def test_other_lists_of_kinds_are_the_same() -> None:
    assert run_artifacts._ORDER == artifacts._KINDS == ARTIFACT_KIND.words


def test_what_the_enum_lacks_stays_text() -> None:
    assert PLATFORM.number("fuchsia") == PLATFORM.number("") == 0
    assert PLATFORM.read(0, "fuchsia") == "fuchsia"
    assert PLATFORM.read(NEWER, "fuchsia") == "fuchsia"
    assert PLATFORM.numbers(("host", "fuchsia")) == []
    assert PLATFORM.read_all([], ["host", "fuchsia"]) == ("host", "fuchsia")
    assert PLATFORM.read_all([1, NEWER], ["host", "fuchsia"]) == ("host", "fuchsia")


def test_a_request_is_refused_by_name_and_value() -> None:
    assert RUN_STATE.required(0, "", "state") == ""
    assert RUN_STATE.required(0, "completed", "state") == RUN_STATE.required(2, "", "state") == "completed"
    with pytest.raises(InvalidInput, match=r"state is 'done' \(one of running, completed\)"):
        RUN_STATE.required(0, "done", "state")
    with pytest.raises(InvalidInput, match="state is '99'"):
        RUN_STATE.required(NEWER, "", "state")


@dataclass(frozen=True)
class Place:
    """One text field, the enum field that replaces it, and what a reader makes of a message with both."""

    message: Message
    text: str
    enum: str
    read: Callable[[Any], Any]
    other: Any


def cell() -> Message:
    return cell_to_proto(Cell("c-1", "int8", "local", "d", "android", "1", "cpu", 1))


def one_filter(platform: tuple[str, ...]) -> Message:
    plan = Plan(variants=(VariantSpec("int8"),), devices=(DeviceFilter("adb", platform=platform),))
    return plan_to_proto(plan).devices[0]


def read_filter(message: Any) -> Any:
    plan = plan_to_proto(Plan(variants=(VariantSpec("int8"),)))
    plan.devices.append(message)
    return plan_from_proto(plan).devices[0].platform


def run_artifact() -> Message:
    message = artifacts_pb2.RunArtifact(kind="app", platform="android", artifact_kind=ARTIFACT_KIND.number("app"))
    message.device_platform = types_pb2.PLATFORM_ANDROID
    return message


RUN = types_pb2.RunContext(run_id="r-1")


def app_built() -> Message:
    app = types_pb2.Artifact(sha256="a" * 64, size_bytes=1)
    return events_pb2.AppBuilt(
        run=RUN, variant="int8", package=app, platform="android", device_platform=types_pb2.PLATFORM_ANDROID
    )


def app_failed() -> Message:
    return events_pb2.AppFailed(
        run=RUN,
        variant="int8",
        failure=types_pb2.Failure(code="x"),
        platform="android",
        device_platform=types_pb2.PLATFORM_ANDROID,
    )


def heard_platform(message: Any) -> Any:
    """What the metrics store makes of an event of the app builder."""
    heard = read_event(decode(*encode(message, id="e-1", source="/windtunnel/app_builder", run_id="r-1")))
    fact = heard.facts[-1]
    assert isinstance(fact, (Built, NotBuilt))
    assert f"the {fact.platform} app" in heard.text
    return fact.platform


def run() -> Message:
    return metrics_store_pb2.Run(run_id="r-1", state="running", run_state=metrics_store_pb2.RUN_STATE_RUNNING)


def progress_state(message: Any) -> Any:
    return read_progress(metrics_store_pb2.WatchRunResponse(run=message)).state


PLACES = [
    Place(app_built(), "platform", "device_platform", heard_platform, types_pb2.PLATFORM_HOST),
    Place(app_failed(), "platform", "device_platform", heard_platform, types_pb2.PLATFORM_HOST),
    Place(run(), "state", "run_state", lambda m: read_summary(m).state, metrics_store_pb2.RUN_STATE_COMPLETED),
    Place(run(), "state", "run_state", progress_state, metrics_store_pb2.RUN_STATE_COMPLETED),
    Place(cell(), "platform", "device_platform", lambda m: cell_from_proto(m).platform, types_pb2.PLATFORM_IOS),
    Place(cell(), "platform", "device_platform", lambda m: cell_spec(m).platform, types_pb2.PLATFORM_IOS),
    Place(one_filter(("android",)), "platforms", "device_platforms", read_filter, [types_pb2.PLATFORM_IOS]),
    Place(run_artifact(), "kind", "artifact_kind", lambda m: read_artifact(m).kind, ARTIFACT_KIND.number("log")),
    Place(run_artifact(), "platform", "device_platform", lambda m: read_artifact(m).platform, types_pb2.PLATFORM_IOS),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{type(place.message).__name__}.{place.text}")
class TestPlace:
    def copy(self, place: Place, *without: str) -> Any:
        message = type(place.message).FromString(place.message.SerializeToString())
        for name in without:
            message.ClearField(name)
        return message

    def test_a_writer_fills_both(self, place: Place) -> None:
        assert getattr(place.message, place.text) and getattr(place.message, place.enum)

    def test_either_alone_is_enough(self, place: Place) -> None:
        both = place.read(self.copy(place))
        assert both
        assert place.read(self.copy(place, place.enum)) == both, "what an older writer sends"
        assert place.read(self.copy(place, place.text)) == both, "what a newer writer may send"

    def test_the_enum_counts_where_they_differ(self, place: Place) -> None:
        message = self.copy(place, place.enum)
        if isinstance(place.other, list):
            getattr(message, place.enum).extend(place.other)
        else:
            setattr(message, place.enum, place.other)
        assert place.read(message) == place.read(self.only(message, place)) != place.read(self.copy(place))

    def only(self, message: Any, place: Place) -> Any:
        message = type(message).FromString(message.SerializeToString())
        message.ClearField(place.text)
        return message


def test_words_that_no_enum_has_travel_as_text() -> None:
    message = one_filter(("host", "fuchsia"))
    assert not getattr(message, "device_platforms")  # noqa: B009 - the type is that of any message
    assert read_filter(message) == ("host", "fuchsia")
