"""A plan survives being written and read: as a dict, as text, as a protobuf message."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from windtunnel.errors import InvalidPlan
from windtunnel.plan import (
    BUILTIN_VARIANTS,
    DEFAULT_PLAN,
    MAX_PLAN_BYTES,
    DataSet,
    DeviceFilter,
    Gates,
    LatencyVs,
    Plan,
    VariantSpec,
    parse_plan,
    parse_plan_text,
    plan_from_json,
    plan_from_proto,
    plan_to_dict,
    plan_to_json,
    plan_to_proto,
)
from windtunnel.plan.yaml_text import PlanLoader
from windtunnel.task_names import TASK_METRICS, TaskSpec
from windtunnel.v1 import plan_pb2

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
locations = words.filter(lambda text: text.lstrip()[:1] not in ("", "{", "["))
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(words, json_values, max_size=3)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True).filter(lambda n: n not in BUILTIN_VARIANTS)
optional = st.booleans()
recipes = st.builds(VariantSpec, names, recipe=st.lists(objects, min_size=1, max_size=2).map(tuple), optional=optional)
elsewhere = st.builds(VariantSpec, names, recipe_uri=locations, optional=optional)
builtin = st.builds(VariantSpec, st.sampled_from(BUILTIN_VARIANTS), optional=optional)
bounds = st.none() | st.floats(0, 1e9)
shares = st.none() | st.floats(0, 1)
run_ids = st.just("last_passed") | st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
compared = st.none() | st.builds(LatencyVs, run_ids, st.floats(0, 1))
tasks = st.sampled_from(["classification", "audio", "text"]).flatmap(
    lambda name: st.builds(
        TaskSpec,
        st.just(name),
        st.none() | st.sampled_from(TASK_METRICS[name].choices),
        st.integers(1, 100),
        st.lists(words, max_size=3).map(tuple),
        st.none() | words,
        st.floats(0.01, 1.0),
    )
)
gates = st.builds(Gates, st.none() | st.floats(-1, 1), bounds, bounds, bounds, bounds, bounds, shares, compared)
shapes = st.dictionaries(words, st.lists(st.integers(1, 4096), max_size=4).map(tuple), max_size=3)
texts = st.lists(words, max_size=3).map(tuple)
spellings = st.sampled_from(["cpu", "NONE", "builtin", "Core-ML", "xnn", "XNNPACK", "gpu", "npu"])
accelerators = st.lists(spellings | words, max_size=3).map(tuple)
devices = st.builds(
    DeviceFilter,
    st.sampled_from(["local", "arm", "adb", "firebase", "ddp", "aws"]),
    texts,
    texts,
    texts,
    accelerators,
    st.lists(st.integers(1, 64), max_size=3).map(tuple),
    st.lists(st.sampled_from(["executable", "app"]), max_size=2).map(tuple),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    variants = draw(st.lists(builtin | recipes | elsewhere, min_size=1, max_size=4, unique_by=lambda v: v.name))
    overridden = draw(st.lists(st.sampled_from([v.name for v in variants]), max_size=2, unique=True))
    return Plan(
        data=DataSet(draw(st.none() | words), draw(st.none() | words), draw(st.none() | tasks)),
        preprocessing=draw(st.none() | locations | objects.filter(bool)),
        variants=tuple(variants),
        devices=draw(st.lists(devices, max_size=3).map(tuple)),
        gates=draw(gates),
        only={name: draw(gates) for name in overridden},
        deadline_seconds=draw(st.just(0) | st.integers(1, 1_000_000)),
        expected_accuracy=draw(shares),
        input_shapes=draw(shapes),
        select_tf_ops=draw(st.booleans()),
        budget_usd=draw(bounds),
        reuse_seconds=draw(st.just(0) | st.integers(1, 999_999_999)),
    )


@pytest.mark.heavy
@given(plans())
def test_by_dict(plan: Plan) -> None:
    assert parse_plan(plan_to_dict(plan)) == plan


@pytest.mark.heavy
@given(plans())
def test_by_json_text(plan: Plan) -> None:
    assert plan_from_json(plan_to_json(plan)) == plan


def test_accelerators_are_spelled_one_way_however_the_filter_is_made() -> None:
    spelled = DeviceFilter("adb", accelerator=("NONE", "Core-ML", "XNN", "npu"))
    assert spelled == DeviceFilter("adb", accelerator=("cpu", "coreml", "xnnpack", "npu"))
    assert spelled.accelerator == ("cpu", "coreml", "xnnpack", "npu")


def test_canonical_json_of_small_numbers_is_read_either_way() -> None:
    plan = Plan(preprocessing={"scale": 1e-05}, variants=DEFAULT_PLAN.variants, gates=Gates(layer_nrmse=1e-07))
    assert b"1e-05" in plan_to_json(plan)
    assert plan_from_json(plan_to_json(plan)) == parse_plan_text(plan_to_json(plan).decode()) == plan


@pytest.mark.parametrize(
    "data", [b"{", b"[" * 100_000, b"\xff", b"apiVersion: windtunnel/v1", b" " * (MAX_PLAN_BYTES + 1)]
)
def test_bytes_that_are_no_plan(data: bytes) -> None:
    with pytest.raises(InvalidPlan):
        plan_from_json(data)


class Dumper(yaml.SafeDumper):
    """Quotes text that the reader would take for a number."""

    yaml_implicit_resolvers = PlanLoader.yaml_implicit_resolvers


@given(plans())
@settings(max_examples=40)
def test_by_yaml(plan: Plan) -> None:
    assert parse_plan_text(yaml.dump(plan_to_dict(plan), Dumper=Dumper, allow_unicode=True)) == plan


@pytest.mark.heavy
@given(plans())
def test_by_protobuf(plan: Plan) -> None:
    sent = plan_to_proto(plan).SerializeToString()
    assert plan_from_proto(plan_pb2.Plan.FromString(sent)) == plan


@pytest.mark.heavy
@given(plans())
def test_equal_plans_have_equal_bytes(plan: Plan) -> None:
    again = parse_plan(json.loads(plan_to_json(plan)))
    assert plan_to_json(again) == plan_to_json(plan)


def test_the_order_of_keys_does_not_change_the_bytes() -> None:
    one = parse_plan_text("apiVersion: windtunnel/v1\ngates: {size_mb: 1, memory_mb: 2}\npreprocessing: {a: 1, b: 2}")
    two = parse_plan_text("preprocessing: {b: 2, a: 1}\ngates: {memory_mb: 2, size_mb: 1}\napiVersion: windtunnel/v1")
    assert plan_to_json(one) == plan_to_json(two)


def test_what_a_message_leaves_out_is_default() -> None:
    assert plan_from_proto(plan_pb2.Plan(api_version="windtunnel/v1")) == DEFAULT_PLAN


def test_no_devices_is_not_the_default_devices() -> None:
    plan = Plan(variants=(VariantSpec("int8"),))
    assert plan_to_proto(plan).no_devices
    assert plan_from_proto(plan_to_proto(plan)).devices == ()


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (plan_pb2.Plan(), "apiVersion is None"),
        (plan_pb2.Plan(api_version="windtunnel/v2"), "apiVersion is 'windtunnel/v2'"),
        (plan_pb2.Plan(api_version="windtunnel/v1", preprocessing_json="{"), "not JSON"),
        (plan_pb2.Plan(api_version="windtunnel/v1", preprocessing_json="[" * 100_000), "not JSON"),
        (plan_pb2.Plan(api_version="windtunnel/v1", preprocessing_json='{"a": NaN}'), "finite"),
        (plan_pb2.Plan(api_version="windtunnel/v1", preprocessing_json="[1]"), "a pipeline object"),
        (plan_pb2.Plan(api_version="windtunnel/v1", variants=[plan_pb2.VariantSpec(name="x")]), "unknown variant 'x'"),
        (plan_pb2.Plan(api_version="windtunnel/v1", devices=[plan_pb2.DeviceFilter(farm="x y")]), "name of a farm"),
        (plan_pb2.Plan(api_version="windtunnel/v1", gates=plan_pb2.Gates(size_mb=float("nan"))), "must be a number"),
        (plan_pb2.Plan(api_version="windtunnel/v1", only={"x": plan_pb2.Gates()}), "unknown field 'x'"),
    ],
)
def test_messages_that_are_no_plan(message: plan_pb2.Plan, words: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        plan_from_proto(message)
    assert words in str(caught.value)
