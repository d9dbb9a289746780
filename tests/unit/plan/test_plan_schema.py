"""The JSON Schemas for editors and publishers say what the readers say."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from referencing import Registry, Resource

from windtunnel import schemas
from windtunnel.bus import decode, subjects
from windtunnel.errors import InvalidInput, InvalidPlan
from windtunnel.plan import DEFAULT_PLAN, parse_plan, plan_to_dict
from windtunnel.service.announcement import read_announcement, wanted_run_id

REGISTRY: Registry[Any] = Resource.from_contents(schemas.load("plan")) @ Registry()
PLAN = jsonschema.Draft202012Validator(schemas.load("plan"))
TRAINED = jsonschema.Draft202012Validator(schemas.load("model_trained"), registry=REGISTRY)

GOOD_PLANS = [
    "{}",
    "data: {samples: test.npz, calibration: s3://b/c.npz}",
    "data: {}",
    "data: {samples: 2024}",
    "data: null",
    "preprocessing: pipeline.json",
    "preprocessing: {schema: windtunnel.pipeline/1, steps: []}",
    "variants: [float32, float16, dynamic_range, int8, int16x8]",
    "variants: [{name: int8}, {name: float32, recipe: null}]",
    "variants: [{name: made, recipe: r.json}, {name: other-1.0, recipe: [{regex: '.*'}]}]",
    "devices: []",
    "devices: [{farm: local}]",
    "devices: [{farm: [local, arm], threads: 1}]",
    "devices: [{farm: [arm], device: a, platform: [host], os_version: 14, accelerator: [cpu, gpu], threads: [1, 4]}]",
    "devices: [{farm: aws, device: null, threads: null}]",
    "gates: {accuracy_drop: -0.5, latency_ms: {p50: 1, p95: 2.5}, size_mb: 0, memory_mb: 1, layer_nrmse: 0.1}",
    "gates: {size_mb: null, latency_ms: null, only: null}",
    "gates: {latency_ms: {p50: null}}",
    "{variants: [int8], gates: {only: {int8: {size_mb: 1, latency_ms: {p95: 3}}}}}",
    "deadline_seconds: 60",
    "{expected_accuracy: 0.9275, gates: {accuracy: {min: 0.9}, only: {}}}",
    "{expected_accuracy: null, gates: {accuracy: null}}",
    "gates: {accuracy: {min: null}}",
    "{data: {task: regression}, gates: {accuracy: {max: 2.5}}}",
    "data: {task: detection}",
    "data: {task: {name: classification, metric: top_k, k: 3, classes: [cat, dog], output: scores}}",
    "data: {task: {name: keypoints, alpha: 0.1}}",
    "data: {task: null}",
    "input_shapes: {image: [1, 224, 224, 3], 'serving_default_x:0': []}",
    "input_shapes: null",
    "conversion: {select_tf_ops: true}",
    "conversion: {}",
    "variants: [{name: int8, optional: true}, {name: made, recipe: r.json, optional: false}]",
]
BAD_PLANS = [
    "gates: {accuracy: {}}",
    "gates: {latency_ms: {}}",
    "gates: {only: {int8: {accuracy: {}}}}",
    "extra: 1",
    "apiVersion: windtunnel/v2",
    "apiVersion: null",
    "data: []",
    "data: {sample: x}",
    "data: {samples: ''}",
    "data: {samples: [a]}",
    "data: {samples: true}",
    "preprocessing: 7",
    "preprocessing: ''",
    "preprocessing: ' '",
    "preprocessing: ' {}'",
    "preprocessing: []",
    "variants: []",
    "variants: int8",
    "variants: [int7]",
    "variants: [int8, int8]",
    "variants: [7]",
    "variants: [{name: int8, optional: 1}]",
    "expected_accuracy: 92.75",
    "expected_accuracy: true",
    "gates: {accuracy: 0.9}",
    "gates: {accuracy: {min: 1.5}}",
    "gates: {accuracy: {most: 0.5}}",
    "gates: {accuracy: {max: -0.5}}",
    "data: {task: guessing}",
    "data: {task: 7}",
    "data: {task: {metric: map}}",
    "data: {task: {name: detection, metric: []}}",
    "data: {task: {name: detection, k: 0}}",
    "data: {task: {name: detection, classes: cat}}",
    "data: {task: {name: keypoints, alpha: 0}}",
    "data: {task: {name: detection, iou: 0.5}}",
    "input_shapes: [1, 2]",
    "input_shapes: {x: 3}",
    "input_shapes: {x: [1, -1]}",
    "conversion: {select_tf_ops: 1}",
    "conversion: {flex: true}",
    "variants: [{}]",
    "variants: [{name: made}]",
    "variants: [{name: int8, recipe: r.json}]",
    "variants: [{name: 'a b', recipe: r.json}]",
    "variants: [{name: made, recipe: []}]",
    "variants: [{name: made, recipe: [x]}]",
    "variants: [{name: made, recipe: {}}]",
    "variants: [{name: made, recipe: r.json, extra: 1}]",
    "devices: {}",
    "devices: [local]",
    "devices: [{}]",
    "devices: [{farm: no where}]",
    "devices: [{farm: []}]",
    "devices: [{farm: [local, no where]}]",
    "devices: [{farm: local, threads: 0}]",
    "devices: [{farm: local, threads: 1.5}]",
    "devices: [{farm: local, threads: [two]}]",
    "devices: [{farm: local, os_version: true}]",
    "devices: [{farm: local, os_version: ['']}]",
    "devices: [{farm: local, os_version: [null]}]",
    "devices: [{farm: local, os: 1}]",
    "gates: []",
    "gates: {size: 1}",
    "gates: {size_mb: -1}",
    "gates: {size_mb: '1'}",
    "gates: {size_mb: true}",
    "gates: {latency_ms: 5}",
    "gates: {latency_ms: {p99: 5}}",
    "gates: {only: []}",
    "gates: {only: {float32: 5}}",
    "gates: {only: {float32: null}}",
    "gates: {only: {float32: {only: {}}}}",
    "deadline_seconds: 0",
    "deadline_seconds: 1.5",
]


def document(body: str) -> Any:
    return {"apiVersion": "windtunnel/v1"} | yaml.safe_load(body)


@pytest.mark.parametrize("body", GOOD_PLANS)
def test_both_take_good_plans(body: str) -> None:
    PLAN.validate(document(body))
    parse_plan(document(body))


@pytest.mark.parametrize("body", BAD_PLANS)
def test_both_refuse_bad_plans(body: str) -> None:
    assert not PLAN.is_valid(document(body))
    with pytest.raises(InvalidPlan):
        parse_plan(document(body))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.sampled_from([None, True, 0, 1, "", "x", [], ["int8"], {}, [{}], [{"farm": "adb"}], [None]])
            for name in ("data", "preprocessing", "variants", "devices", "gates", "deadline_seconds", "other")
        },
    )
)
def test_both_are_of_one_mind(fields: dict[str, Any]) -> None:
    plan = {"apiVersion": "windtunnel/v1"} | fields
    try:
        parse_plan(plan)
    except InvalidPlan:
        assert not PLAN.is_valid(plan)
    else:
        PLAN.validate(plan)


def test_the_defaults_in_the_schema_are_the_defaults() -> None:
    properties = schemas.load("plan")["properties"]
    stated = {"apiVersion": "windtunnel/v1", **{name: properties[name]["default"] for name in ("variants", "devices")}}
    assert parse_plan(stated) == DEFAULT_PLAN
    PLAN.validate(stated)
    PLAN.validate(plan_to_dict(DEFAULT_PLAN))


@pytest.mark.parametrize("name", ["plan", "model_trained"])
def test_the_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schemas.load(name))


EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "7f0c",
    "source": "/training/ssd",
    "type": "windtunnel.model.trained.v1",
    "datacontenttype": "application/json",
    "data": {
        "model": {"name": "ssd", "version": "2026-11-20.3", "uri": "s3://models/ssd.zip"},
        "plan": {"apiVersion": "windtunnel/v1", "variants": ["int8"]},
        "labels": {"team": "edge"},
    },
}
MODEL: dict[str, Any] = EVENT["data"]["model"]
GOOD_EVENTS = [
    {},
    {"datacontenttype": ...},
    {"time": "2026-11-20T10:00:00Z", "subject": "s", "team": "edge", "priority": 3, "dry": True},
    {"data": {"model": MODEL}},
    {"data": {"model": MODEL, "plan_uri": "s3://p", "run_id": "r-1"}},
    {"data": {"model": MODEL, "planName": "nightly", "runId": "r_1"}},
    {"data": {"model": MODEL, "plan": None, "plan_uri": "s3://p", "plan_name": ""}},
    {"data": {"model": MODEL | {"sha256": "A" * 64, "format": "keras", "inputs": ["x"], "outputs": ["y:0"]}}},
    {"data": {"model": MODEL | {"framework": "jax"}, "extra": 1}},
]
BAD_EVENTS = [
    {"specversion": "0.3"},
    {"specversion": ...},
    {"id": ""},
    {"id": ...},
    {"source": ...},
    {"type": "windtunnel.model.trained"},
    {"time": "today"},
    {"myExtension": "x"},
    {"ext": {}},
    {"ext": 1.5},
    {"data": ...},
    {"data": []},
    {"data": {}},
    {"data_base64": "e30="},
    {"data": {"model": {}}},
    {"data": {"model": {"name": "ssd", "version": "1"}}},
    {"data": {"model": MODEL | {"uri": ""}}},
    {"data": {"model": MODEL | {"version": 3}}},
    {"data": {"model": MODEL | {"sha256": "abc"}}},
    {"data": {"model": MODEL | {"format": "onnx"}}},
    {"data": {"model": MODEL | {"inputs": "x"}}},
    {"data": {"model": MODEL, "plan": {"apiVersion": "windtunnel/v1"}, "plan_uri": "s3://p"}},
    {"data": {"model": MODEL, "planUri": "s3://p", "plan_name": "nightly"}},
    {"data": {"model": MODEL, "plan": {"variants": ["int8"]}}},
    {"data": {"model": MODEL, "plan": {"apiVersion": "windtunnel/v1", "variants": ["int7"]}}},
    {"data": {"model": MODEL, "labels": {"a": 1}}},
    {"data": {"model": MODEL, "run_id": "a b"}},
    {"data": {"model": MODEL, "run_id": "r" * 65}},
]


def event(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (EVENT | changes).items() if value is not ...}


def read_event(value: dict[str, Any]) -> None:
    decoded = decode(subjects.MODEL_TRAINED, None, json.dumps(value).encode())
    read_announcement(decoded)
    wanted_run_id(decoded)


@pytest.mark.parametrize("changes", GOOD_EVENTS)
def test_both_take_good_events(changes: dict[str, Any]) -> None:
    TRAINED.validate(event(changes))
    read_event(event(changes))


@pytest.mark.parametrize("changes", BAD_EVENTS)
def test_both_refuse_bad_events(changes: dict[str, Any]) -> None:
    assert not TRAINED.is_valid(event(changes))
    with pytest.raises(InvalidInput):
        read_event(event(changes))
