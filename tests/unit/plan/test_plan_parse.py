"""Reading plans: every field, every default, and errors that say where."""

from __future__ import annotations

import textwrap
import time
from typing import Any

import pytest

from windtunnel.errors import InvalidPlan
from windtunnel.plan import (
    BUILTIN_VARIANTS,
    DEFAULT_PLAN,
    DataSet,
    DeviceFilter,
    Gates,
    Plan,
    VariantSpec,
    parse_plan,
    parse_plan_text,
)
from windtunnel.plan.plan_document import DataDocument, DeviceDocument

V1: dict[str, Any] = {"apiVersion": "windtunnel/v1"}


def plan(**fields: Any) -> Plan:
    return parse_plan(V1 | fields)


def text(body: str) -> Plan:
    return parse_plan_text("apiVersion: windtunnel/v1\n" + textwrap.dedent(body))


def refused(body: str) -> InvalidPlan:
    with pytest.raises(InvalidPlan) as caught:
        text(body)
    return caught.value


class TestEveryField:
    def test_the_example_of_the_documentation(self) -> None:
        read = text("""\
            data:
              samples: test.npz            # arrays x and y
              calibration: calib.npz
            preprocessing: pipeline.json   # or inline
            variants: [float32, float16, dynamic_range, int8, int16x8]
            devices:
              - {farm: local, accelerator: xnnpack, threads: 1}
            gates:
              accuracy_drop: 0.01
              latency_ms: {p50: 10, p95: 20}
              size_mb: 5
              memory_mb: 200
              layer_nrmse: 0.10
            deadline_seconds: 600
            """)
        assert read == Plan(
            data=DataSet("test.npz", "calib.npz"),
            preprocessing="pipeline.json",
            variants=tuple(map(VariantSpec, ("float32", "float16", "dynamic_range", "int8", "int16x8"))),
            devices=(DeviceFilter("local", accelerator=("xnnpack",), threads=(1,)),),
            gates=Gates(0.01, 10.0, 20.0, 5.0, 200.0, 0.10),
            deadline_seconds=600,
        )

    def test_nothing_but_the_version_is_the_default_plan(self) -> None:
        assert parse_plan(V1) == text("") == DEFAULT_PLAN

    @pytest.mark.parametrize("field", ["data", "preprocessing", "variants", "devices", "gates", "deadline_seconds"])
    def test_null_is_absent(self, field: str) -> None:
        assert plan(**{field: None}) == DEFAULT_PLAN

    def test_json_is_yaml(self) -> None:
        assert parse_plan_text('{"apiVersion": "windtunnel/v1", "variants": ["int8"]}') == plan(variants=["int8"])

    @pytest.mark.parametrize("written", ["1e-05", "1E5", "-2e3", "1.5e3", "2.E-1"])
    def test_numbers_with_an_exponent_as_json_writes_them(self, written: str) -> None:
        assert text(f"preprocessing: {{scale: {written}}}").preprocessing == {"scale": float(written)}
        assert text(f"gates: {{accuracy_drop: {written}}}").gates.accuracy_drop == float(written)
        assert text(f"data: {{samples: {written}}}").data.samples == written
        assert text(f'preprocessing: {{scale: "{written}"}}').preprocessing == {"scale": written}

    def test_several_farms_are_one_filter_each(self) -> None:
        (local, arm) = text("devices: [{farm: [local, arm], threads: [1, 2]}]").devices
        assert (local, arm) == (DeviceFilter("local", threads=(1, 2)), DeviceFilter("arm", threads=(1, 2)))

    def test_a_matrix_has_an_end(self) -> None:
        most = {"farm": ["local", "arm"], "threads": list(range(1, 51)), "device": [f"d{n}" for n in range(100)]}
        assert len(plan(devices=[most]).devices) == 2
        with pytest.raises(InvalidPlan, match=r"devices: the matrix has 10001 cells per variant \(at most 10000"):
            plan(devices=[most, {"farm": "adb"}])

    def test_no_devices(self) -> None:
        assert plan(devices=[]).devices == ()

    def test_every_field_of_a_device_may_be_a_list(self) -> None:
        (device,) = plan(
            devices=[
                {
                    "farm": "firebase",
                    "device": ["redfin", "oriole"],
                    "platform": "android",
                    "os_version": ["13", 14],
                    "accelerator": ["gpu", "nnapi"],
                    "threads": [1, 4],
                }
            ]
        ).devices
        assert device == DeviceFilter(
            "firebase", ("redfin", "oriole"), ("android",), ("13", "14"), ("gpu", "nnapi"), (1, 4)
        )

    def test_a_recipe_in_place_or_elsewhere(self) -> None:
        rules = [{"regex": ".*", "operation": "*"}]
        made, theirs = plan(
            variants=[{"name": "made", "recipe": rules}, {"name": "theirs", "recipe": "s3://recipes/x.json"}]
        ).variants
        assert made == VariantSpec("made", recipe=tuple(rules))
        assert theirs == VariantSpec("theirs", recipe_uri="s3://recipes/x.json")

    def test_a_built_in_variant_as_an_object(self) -> None:
        assert plan(variants=[{"name": "int8"}]).variants == (VariantSpec("int8"),)

    def test_a_pipeline_in_place_is_taken_as_it_is(self) -> None:
        pipeline = {"schema": "windtunnel.pipeline/1", "steps": [{"op": "resize", "myOwn": [1, 2.5, None, True]}]}
        assert plan(preprocessing=pipeline).preprocessing == pipeline

    def test_camel_case(self) -> None:
        read = plan(
            deadlineSeconds=5,
            devices=[{"farm": "local", "osVersion": "1"}],
            gates={
                "accuracyDrop": 0,
                "latencyMs": {"p50": 1},
                "sizeMb": 2,
                "memoryMb": 3,
                "layerNrmse": 4,
                "only": {"float32": {"sizeMb": 9}},
            },
        )
        assert read.gates == Gates(0, 1, None, 2, 3, 4)
        assert read.only == {"float32": Gates(size_mb=9)}
        assert (read.deadline_seconds, read.devices[0].os_version) == (5, ("1",))
        assert parse_plan({"api_version": "windtunnel/v1"}) == DEFAULT_PLAN

    def test_a_drop_below_zero_asks_for_an_improvement(self) -> None:
        assert plan(gates={"accuracy_drop": -0.01}).gates.accuracy_drop == -0.01


class TestOnly:
    def test_an_override_replaces_what_it_gives_and_keeps_the_rest(self) -> None:
        read = plan(
            variants=["float32", "int8"],
            gates={"size_mb": 5, "latency_ms": {"p50": 10, "p95": 20}, "only": {"int8": {"latency_ms": {"p95": 30}}}},
        )
        assert read.gates_of("float32") == Gates(latency_ms_p50=10, latency_ms_p95=20, size_mb=5)
        assert read.gates_of("int8") == Gates(latency_ms_p50=10, latency_ms_p95=30, size_mb=5)

    def test_zero_is_a_bound(self) -> None:
        read = plan(variants=["int8"], gates={"layer_nrmse": 1, "only": {"int8": {"layer_nrmse": 0}}})
        assert read.gates_of("int8").layer_nrmse == 0

    def test_names_are_taken_as_they_are(self) -> None:
        """A variant's name is not a field: camelCase in it means nothing."""
        rules = [{"regex": ".*"}]
        variants = [{"name": "myInt8", "recipe": rules}, {"name": "my_int8", "recipe": rules}]
        read = plan(variants=variants, gates={"only": {"myInt8": {"size_mb": 1}, "my_int8": {"size_mb": 2}}})
        assert (read.only["myInt8"].size_mb, read.only["my_int8"].size_mb) == (1, 2)

    def test_a_variant_that_the_plan_does_not_make(self) -> None:
        error = refused("variants: [int8]\ngates:\n  only:\n    int16: {size_mb: 1}\n")
        assert "unknown field 'int16'" in str(error)
        assert (error.path, error.line, error.column) == ("gates.only.int16", 5, 5)

    def test_overrides_do_not_nest(self) -> None:
        assert "unknown field 'only'" in str(refused("gates: {only: {float32: {only: {}}}}"))


class TestNumbersAsText:
    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ("14", "14"),
            ("14.10", "14.10"),
            ("1_0", "1_0"),
            ("0x10", "0x10"),
            ('"14.10"', "14.10"),
            ("16.0", "16.0"),
        ],
    )
    def test_a_version_is_what_is_written(self, written: str, read: str) -> None:
        assert text(f"devices: [{{farm: local, os_version: {written}}}]").devices[0].os_version == (read,)
        assert text(f"devices:\n- farm: local\n  os_version: [{written}]").devices[0].os_version == (read,)

    def test_every_text_of_the_models_is_read_as_it_is_written(self) -> None:
        for field in set(DataDocument.model_fields) - {"task"}:
            read = text(f"data: {{{field}: 14.10}}").data
            assert getattr(read, field) == "14.10"
        for field in set(DeviceDocument.model_fields) - {"farm", "threads", "run_as"}:
            assert getattr(text(f"devices: [{{farm: local, {field}: [14.10, 1e5]}}]").devices[0], field) == (
                "14.10",
                "1e5",
            )

    def test_a_number_and_a_text_by_one_alias(self) -> None:
        (read,) = text("devices: [{farm: local, os_version: &four [4, 4.0], device: *four, threads: [&n 4]}]").devices
        assert (read.os_version, read.device, read.threads) == (("4", "4.0"), ("4", "4.0"), (4,))
        (read,) = text("devices: [{farm: local, os_version: &four [4], threads: *four}]").devices
        assert (read.os_version, read.threads) == (("4",), (4,))

    def test_numbers_of_json(self) -> None:
        assert plan(devices=[{"farm": "local", "os_version": [14, 14.5]}]).devices[0].os_version == ("14", "14.5")

    @pytest.mark.parametrize("wrong", ["yes", "2026-11-20", ".inf", ".nan", '""', "[[]]", "{}", "[null]"])
    def test_what_is_no_text(self, wrong: str) -> None:
        error = refused(f"devices:\n- farm: local\n  os_version: {wrong}")
        assert "must be text" in str(error)
        assert error.line == 4


@pytest.mark.parametrize(
    ("body", "path", "place", "words"),
    [
        ("data:\n  sample: x", "data.sample", (3, 3), "did you mean 'samples'"),
        ("extra: 1", "extra", (2, 1), "unknown field 'extra'"),
        ("data: [x]", "data", (2, 1), "data must be an object, this is list"),
        ("data: false", "data", (2, 1), "data must be an object"),
        ("data: {samples: [x]}", "data.samples", (2, 8), "must be text"),
        ("preprocessing: 7", "preprocessing", (2, 1), "a pipeline object or a URI"),
        ("preprocessing: ''", "preprocessing", (2, 1), "a pipeline object or a URI"),
        ("preprocessing: '{\"steps\": []}'", "preprocessing", (2, 1), "a pipeline object or a URI"),
        ("preprocessing:\n  a: [1, .nan]", "preprocessing.a[1]", (3, 10), "finite"),
        ("preprocessing:\n  a: 2026-11-20", "preprocessing.a", (3, 3), "must be a JSON value"),
        ("preprocessing:\n  1: a", "preprocessing", (2, 1), "keys must be text"),
        ("preprocessing: !!set {a}", "preprocessing", (2, 1), "a pipeline object or a URI"),
        ("variants: []", "variants", (2, 1), "at least one variant"),
        ("variants: int8", "variants", (2, 1), "at least one variant"),
        ("variants: !!binary aGVsbG8=", "variants", (2, 1), "at least one variant"),
        ("variants:\n- float32\n- int9", "variants[1]", (4, 3), "did you mean 'int8'"),
        ("variants: [float32, 7]", "variants[1]", (2, 21), "a variant must be an object"),
        ("variants: [int8, float32, int8]", "variants[2]", (2, 27), "'int8' is given twice"),
        ("variants: [{recipe: x.json}]", "variants[0].name", (2, 12), "needs a name of its own"),
        ("variants: [{name: int8, recipe: x.json}]", "variants[0].name", (2, 13), "needs a name of its own"),
        ("variants: [{name: a/b, recipe: x.json}]", "variants[0].name", (2, 13), "needs a name of its own"),
        ("variants: [{name: made}]", "variants[0].name", (2, 13), "unknown variant 'made'"),
        ("variants: [{}]", "variants[0].name", (2, 12), "unknown variant None"),
        ("variants: [{name: made, recipe: []}]", "variants[0].recipe", (2, 25), "a list of rules"),
        ("variants: [{name: made, recipe: [x]}]", "variants[0].recipe", (2, 25), "a list of rules"),
        ("variants: [{name: made, recipe: '[]'}]", "variants[0].recipe", (2, 25), "a list of rules"),
        ("variants: [{name: m, recipe: [{a: .inf}]}]", "variants[0].recipe[0].a", (2, 32), "finite"),
        ("devices: {farm: local}", "devices", (2, 1), "must be a list"),
        ("devices: [local]", "devices[0]", (2, 11), "a device filter must be an object"),
        ("devices:\n- threads: 1", "devices[0].farm", (3, 3), "a farm must be named"),
        ("devices:\n- farm: []", "devices[0].farm", (3, 3), "a farm must be named"),
        ("devices:\n- farm: [local, a/b]", "devices[0].farm[1]", (3, 17), "'a/b' cannot be the name of a farm"),
        ("devices:\n- farm: local\n  run_as: exe", "devices[0].run_as", (4, 3), "cannot run as 'exe'"),
        ("reuse: 7 days", "reuse", (2, 1), "such as 7d"),
        ("budget_usd: -1", "budget_usd", (2, 1), "below zero"),
        ("devices:\n- farm: local\n  threads: 0", "devices[0].threads", (4, 3), "from 1 to 1000000"),
        ("devices:\n- farm: local\n  threads: [1, -2]", "devices[0].threads[1]", (4, 16), "this is int -2"),
        ("devices:\n- farm: local\n  threads: 1.5", "devices[0].threads", (4, 3), "this is float 1.5"),
        ("devices:\n- farm: local\n  threads: true", "devices[0].threads", (4, 3), "this is bool"),
        ("devices:\n- farm: local\n  os: 14", "devices[0].os", (4, 3), "unknown field 'os'"),
        ("gates: []", "gates", (2, 1), "gates must be an object"),
        ("gates:\n  latency: 5", "gates.latency", (3, 3), "did you mean 'latency_ms'"),
        ("gates:\n  latency_ms: 5", "gates.latency_ms", (3, 3), "must be an object"),
        ("gates:\n  latency_ms: {p99: 5}", "gates.latency_ms.p99", (3, 16), "unknown field 'p99'"),
        ("gates:\n  latency_ms:\n    p50: fast", "gates.latency_ms.p50", (4, 5), "must be a number"),
        ("gates:\n  size_mb: .nan", "gates.size_mb", (3, 3), "must be a number, this is float nan"),
        ("gates:\n  size_mb: .inf", "gates.size_mb", (3, 3), "must be a number"),
        ("gates:\n  size_mb: true", "gates.size_mb", (3, 3), "must be a number"),
        ("gates:\n  size_mb: -1", "gates.size_mb", (3, 3), "can never hold"),
        ("gates:\n  size_mb: 1" + "0" * 400, "gates.size_mb", (3, 3), "must be a number"),
        ("gates:\n  accuracy_drop: -.inf", "gates.accuracy_drop", (3, 3), "must be a number"),
        ("gates:\n  only:\n    float32: 5", "gates.only.float32", (4, 5), "must be an object"),
        ("gates:\n  only:\n    float32: {size_mb: x}", "gates.only.float32.size_mb", (4, 15), "must be a number"),
        ("gates:\n  accuracy: 0.9", "gates.accuracy", (3, 3), "write accuracy: {min: 0.9}"),
        ("gates: {latency_vs: 0.05}", "gates.latency_vs", (2, 9), "{baseline: last_passed, max_increase: 0.05}"),
        ("gates: {latency_vs: {max_increase: 0.05}}", "gates.latency_vs.baseline", (2, 9), "write last_passed, or"),
        ("gates: {latency_vs: {baseline: last_passed}}", "gates.latency_vs.max_increase", (2, 9), "such as 0.05"),
        (
            "gates: {latency_vs: {baseline: last_passed, max_increase: 5}}",
            "gates.latency_vs.max_increase",
            (2, 45),
            "5 % is 0.05",
        ),
        (
            "gates: {latency_vs: {baseline: last_passed, max_increase: -0.1}}",
            "gates.latency_vs.max_increase",
            (2, 45),
            "below zero",
        ),
        (
            "gates: {latency_vs: {baseline: a run, max_increase: 0}}",
            "gates.latency_vs.baseline",
            (2, 22),
            "'a run' cannot be the id of a run",
        ),
        ("gates:\n  accuracy: {min: 90}", "gates.accuracy.min", (3, 14), "90 % is 0.9"),
        ("expected_accuracy: 92.75", "expected_accuracy", (2, 1), "92.75 % is 0.9275"),
        ("input_shapes: {x: 3}", "input_shapes.x", (2, 16), "a shape is a list of sizes"),
        ("input_shapes: {x: [1, -1]}", "input_shapes.x[1]", (2, 23), "this is int -1"),
        ("conversion: {select_tf_ops: 1}", "conversion.select_tf_ops", (2, 14), "must be true or false"),
        ("variants: [{name: int8, optional: 1}]", "variants[0].optional", (2, 25), "must be true or false"),
        ("deadline_seconds: 0", "deadline_seconds", (2, 1), "from 1 to 1000000"),
        ("deadline_seconds: 1000001", "deadline_seconds", (2, 1), "from 1 to 1000000"),
        ("deadline_seconds: soon", "deadline_seconds", (2, 1), "this is str 'soon'"),
        ("x: &base {samples: 7, wrong: 1}\ndata: *base", "x", (2, 1), "unknown field 'x'"),
        ("data:\n  <<: {samples: [1]}", "data.samples", (2, 1), "must be text"),
    ],
)
def test_errors_say_where_and_what(body: str, path: str, place: tuple[int, int], words: str) -> None:
    error = refused(body)
    assert error.path == path
    assert (error.line, error.column) == place
    assert words in str(error)
    assert str(error).startswith(f"line {place[0]}, column {place[1]}: {path}: ")


@pytest.mark.parametrize(
    ("whole", "words"),
    [
        ("", "a plan must be an object, this is nothing"),
        ("[]", "line 1, column 1: a plan must be an object"),
        ("hello", "a plan must be an object"),
        ("variants: [int8]", "line 1, column 1: apiVersion: apiVersion is None"),
        ("apiVersion: windtunnel/v2", "apiVersion is 'windtunnel/v2'"),
        ("apiVersion: 1", "apiVersion is 1"),
        ("a: 1\na: 2", "line 2, column 1: field 'a' is given twice"),
        ("gates:\n  size_mb: 1\n  sizeMb: 2", "line 3, column 3: field 'size_mb' is given twice"),
        ("preprocessing: {a: 1, a: 2}", "field 'a' is given twice"),
        ("a: [1", "line 1, column 6: this is not YAML"),
        ("a: b: c", "line 1, column 5: this is not YAML"),
        ("a: *nothing", "line 1, column 4: this is not YAML"),
        ("a: 1\n---\nb: 2", "this is not YAML"),
        ("a: !!python/object/apply:os.system [ls]", "this is not YAML: could not determine a constructor"),
        ("a: \x00", "this is not YAML"),
        ("a: 2026-99-99", "this is not YAML"),
        ("? [a, b]\n: 1", "line 1, column 3: this is not YAML: found unhashable key"),
        ("? {a: b}\n: 1", "this is not YAML"),
        ("[" * 5000, "this is not YAML"),
        ("a: &a [*a]", "nested more than 20 deep"),
        ("a: " + "[" * 30 + "]" * 30, "nested more than 20 deep"),
        ("x" * 200_001, "has 200001 characters"),
    ],
)
def test_texts_that_are_no_plan(whole: str, words: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        parse_plan_text(whole)
    assert words in str(caught.value)


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    started = time.monotonic()
    with pytest.raises(InvalidPlan, match="do aliases multiply"):
        parse_plan_text("\n".join(lines))
    assert time.monotonic() - started < 5


def test_json_has_paths_but_no_places() -> None:
    with pytest.raises(InvalidPlan) as caught:
        plan(devices=[{"farm": "local", "threads": 0}])
    assert (caught.value.path, caught.value.line) == ("devices[0].threads", None)
    assert str(caught.value).startswith("devices[0].threads: ")


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        [],
        "text",
        V1 | {"gates": {"size_mb": float("nan")}},
        V1 | {"gates": {"size_mb": 1, "sizeMb": 2}},
        V1 | {"preprocessing": {"a": object()}},
        V1 | {"preprocessing": {"a": b"bytes"}},
    ],
)
def test_values_that_are_no_plan(value: Any) -> None:
    with pytest.raises(InvalidPlan):
        parse_plan(value)


def test_aliases_and_merges_are_welcome() -> None:
    read = text("""\
        devices:
          - &phone {farm: adb, accelerator: gpu, threads: 1}
          - {<<: *phone, threads: 4}
        """)
    assert read.devices == (
        DeviceFilter("adb", accelerator=("gpu",), threads=(1,)),
        DeviceFilter("adb", accelerator=("gpu",), threads=(4,)),
    )


def test_which_variants_need_calibration() -> None:
    need = {name for name in BUILTIN_VARIANTS if VariantSpec(name).needs_calibration}
    assert need == {"int8", "int16x8"}
    assert not VariantSpec("made", recipe=({},)).needs_calibration
