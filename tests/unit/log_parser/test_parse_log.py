"""The parser on whole logs: every field of the public form, for each form of log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windtunnel import schemas
from windtunnel.log_parser import parse_log

LOGS = Path(__file__).parent / "logs"
NAMES = sorted(path.stem for path in LOGS.glob("*.txt"))
SCHEMA = schemas.load("log")


def read(name: str) -> bytes:
    return (LOGS / f"{name}.txt").read_bytes()


def parsed(data: str | bytes) -> dict[str, Any]:
    result = parse_log(data).to_json()
    jsonschema.validate(result, SCHEMA)
    json.dumps(result, allow_nan=False)
    return result


def run_of(data: str | bytes) -> dict[str, Any]:
    runs = parsed(data)["runs"]
    assert len(runs) == 1
    run: dict[str, Any] = runs[0]
    return run


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_a_log(name: str) -> None:
    assert parsed(read(name)) == json.loads((LOGS / f"{name}.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_line_ends_of_windows_change_nothing(name: str) -> None:
    assert parsed(read(name).replace(b"\n", b"\r\n")) == parsed(read(name))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_obeyed(encoding: str) -> None:
    text = read("xnnpack_implicit").decode()
    assert parsed(text.encode(encoding)) == parsed(text)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "truncated"])
def test_lines_that_come_twice_count_once(name: str) -> None:
    lines = [line for line in read(name).decode().split("\n") if line]
    once, twice = "\n".join(lines) + "\n", "\n".join(line for line in lines for _ in range(2)) + "\n"
    assert parsed(twice)["runs"] == parsed(once)["runs"]


def test_a_console_and_a_logcat_in_one_file_count_once() -> None:
    lines = read("xnnpack_implicit").decode().splitlines()
    both = [f"{line}\n07-14 13:14:52.097  228  228 I tflite  : {line.partition(': ')[2]}" for line in lines if line]
    assert parsed("\n".join(both) + "\n")["runs"] == parsed(read("xnnpack_implicit"))["runs"]


@pytest.mark.parametrize(
    "prefix",
    [
        "07-14 13:14:52.097 22838 22838 I tflite  : ",
        "2026-07-14 13:14:52.097 +0200 u0_a1 22838 22838 I tflite  : ",
        "07-14 13:14:52.097 I/tflite  ( 5395): ",
        "07-14 13:14:52.097: I/tflite(5395): ",
        "I/tflite  ( 123): ",
        "I/tflite: ",
        "I( 5395: 5400) ",
        "I tflite  : ",
        "2021-07-14 13:14:52.097 2283-2283/org.tensorflow.lite I/tflite: ",
        "2023-07-14 13:14:52.097  2283-2283  tflite                  org.tensorflow.lite.benchmark        I  ",
        "2020-06-10 12:34:56.789 TFLiteBenchmark[1234:56789] ",
        "2020-06-10 12:34:56.789123+0900 TFLite Benchmark[1234:56789] ",
        "Jun 10 12:34:56 iPhone TFLiteBenchmark(tflite)[1234] <Notice>: ",
        "2017-11-27 08:56:35.518009: I tensorflow/lite/tools/benchmark/benchmark_model.cc:324] ",
        "I0610 12:34:56.789012   12345 benchmark_model.cc:12] ",
        "INFO: ",
        "\x1b[32mINFO\x1b[0m: ",
    ],
)
@pytest.mark.parametrize("name", ["xnnpack_implicit", "profiled_scientific"])
def test_prefixes_are_taken_off(prefix: str, name: str) -> None:
    lines = [line.removeprefix("INFO: ").removeprefix("VERBOSE: ") for line in read(name).decode().split("\n")]
    assert parsed("\n".join(prefix + line if line else line for line in lines)) == parsed(read(name))


def test_invalid_utf8_spoils_only_its_line() -> None:
    log = read("xnnpack_implicit").replace(b"INFO: Signature to run: []\n", b"\xff\xfe\x80 noise\n")
    assert parsed(log)["runs"] == parsed(read("xnnpack_implicit"))["runs"]
    assert parsed(log)["unrecognized_lines"] == 1


def test_an_unknown_line_that_comes_twice_is_two_lines() -> None:
    assert parsed("hello\nhello\n\nworld\n") == {"schema": "windtunnel.log/1", "runs": [], "unrecognized_lines": 3}


def test_nothing_is_no_run() -> None:
    assert parsed(b"") == {"schema": "windtunnel.log/1", "runs": [], "unrecognized_lines": 0}


START = "STARTING!\nGraph: [m.tflite]\nLoaded model m.tflite\n"
FAILED = "Benchmarking failed.\n"
OLD_OP = "Didn't find op for builtin opcode 'MUL' version '5'. Are you using an old TFLite binary with a newer model?"


@pytest.mark.parametrize(
    ("kind", "message", "rest"),
    [
        ("model_load_failure", "Could not open 'm.tflite'.", "Failed to load model m.tflite\n" + FAILED),
        ("model_load_failure", "The model is not a valid Flatbuffer buffer", FAILED),
        ("model_load_failure", "Failed to mmap model m.tflite", FAILED),
        (
            "unsupported_op",
            "Encountered unresolved custom op: Foo.",
            "Node number 1 (Foo) failed to prepare.\n" + FAILED,
        ),
        ("unsupported_op", "Didn't find op for builtin opcode 'SHAPE' version '1'.", "Registration failed.\n" + FAILED),
        ("op_version", OLD_OP, "Failed to initialize the interpreter\n" + FAILED),
        ("delegate_failed", "Failed to apply GPU delegate.", FAILED),
        ("delegate_failed", "Disallowed CPU fallback detected.", FAILED),
        ("out_of_memory", "terminate called after throwing an instance of 'std::bad_alloc'", "Aborted\n"),
        ("out_of_memory", "Failed to allocate memory for the arena", "Failed to allocate tensors!\n"),
        ("crash", "Segmentation fault", ""),
        ("crash", "Fatal signal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x0 in tid 1 (bench)", ""),
        ("invalid_argument", "Input tensor #0 should have 4 dimensions!", FAILED),
        ("not_executed", "/system/bin/sh: ./benchmark_model: not found", ""),
        ("other", "Failed to allocate tensors!", FAILED),
    ],
)
def test_errors_name_their_cause(kind: str, message: str, rest: str) -> None:
    for prefix in ("", "ERROR: ", "07-14 13:14:52.097 22838 22838 E tflite  : "):
        run = run_of(f"{START}{prefix}{message}\n{rest}")
        assert run["error"] == {"kind": kind, "message": message}
        assert run["truncated"] is False
        assert run["inference"]["avg_us"] is None


def test_an_unstarted_tool_is_a_run_that_was_not_executed() -> None:
    run = run_of("/system/bin/sh: ./benchmark_model: inaccessible or not found\n")
    assert run["error"]["kind"] == "not_executed"


def test_a_tool_that_ran_nothing_was_not_executed() -> None:
    phase = "Running benchmark for at least 0 iterations and at least -1 seconds\ncount=0\n\n"
    summary = "Inference timings in us: Init: 5, First inference: 0, Warmup (avg): -nan, Inference (avg): -nan\n"
    run = run_of(START + "Run w/o invoking kernels: [1]\n" + phase + phase + summary)
    assert run["error"]["kind"] == "not_executed"
    assert (run["warmup"]["avg_us"], run["first_inference_us"], run["init_us"]) == (None, None, 5)


def test_what_a_run_survives_is_a_warning() -> None:
    log = read("xnnpack_implicit").decode()
    failure = "ERROR: Restored original execution plan after delegate application failure.\n"
    run = run_of(log.replace("INFO: The input model", f"{failure}WARN: low battery\nINFO: The input model"))
    assert run["error"] is None
    assert run["warnings"] == [
        "low battery",
        "Restored original execution plan after delegate application failure.",
    ]


def test_a_crash_after_the_results_is_a_warning() -> None:
    run = run_of(read("xnnpack_implicit") + b"Segmentation fault\n")
    assert run["error"] is None
    assert run["warnings"] == ["Segmentation fault"]


def test_other_processes_do_not_fail_a_run() -> None:
    noise = "07-14 13:14:52.097   100   100 E SurfaceFlinger: buffer lost\n"
    result = parsed(noise + read("gpu_partial_logcat").decode() + noise)
    assert result["runs"] == parsed(read("gpu_partial_logcat"))["runs"]
    assert result["unrecognized_lines"] == 3


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Use gpu: [1]", "Created TensorFlow Lite delegate for Metal.", "GPU delegate created.",
          "Replacing 64 out of 65 node(s) with delegate (TfLiteMetalDelegate) node, yielding 2 partitions."],
         ("gpu", "metal", "TfLiteMetalDelegate", "partial", 64, 65, 2)),
        (["Use NNAPI: [1]", "Replacing 70 out of 71 node(s) with delegate (TfLiteNnapiDelegate) node, "
          "yielding 2 partitions for the whole graph."],
         ("nnapi", "nnapi", "TfLiteNnapiDelegate", "partial", 70, 71, 2)),
        (["Replacing 58 out of 58 node(s) with delegate (LITERT_CL) node, yielding 1 partitions for subgraph 0."],
         ("gpu", "gpu", "LITERT_CL", "full", 58, 58, 1)),
        (["Use gpu : [1]", "Applied GPU delegate, and the model graph will be completely executed w/ the delegate."],
         ("gpu", "gpu", "GPU", "full", None, None, None)),
        (["Use gpu: [1]", "Created TensorFlow Lite delegate for GPU."],
         ("gpu", "gpu", "GPU", None, None, None, None)),
        (["External delegate path: [/x/libfoo.so]", "EXTERNAL delegate created.",
          "Explicitly applied EXTERNAL delegate, and the model graph will be completely executed by the delegate."],
         ("external", "external", "EXTERNAL", "full", None, None, None)),
        (["Delegate settings file path: [/x/s.json]",
          "Explicitly applied STABLE_DELEGATE delegate, and the model graph will be completely executed by the "
          "delegate."],
         ("external", "external", "STABLE_DELEGATE", "full", None, None, None)),
        (["Use gpu: [1]", "No operations will run on the GPU, and all 12 operations will run on the CPU.",
          "Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate."],
         ("gpu", "gpu", "GPU", "none", 0, 12, None)),
    ],
)  # fmt: skip
def test_wordings_of_delegates(lines: list[str], expected: tuple[object, ...]) -> None:
    run = run_of(START + "\n".join(lines) + "\n")
    delegate = run["delegate"]
    names = ("name", "reported_name", "outcome", "nodes_delegated", "nodes_total", "partitions")
    assert (run["accelerator_requested"], *(delegate[name] for name in names)) == expected
    assert delegate["implicit"] is False


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Use gpu: [1]", "ERROR: TfLiteGpuDelegate Init: Unsupported data type"], {"gpu": "failed"}),
        (["Use gpu: [1]", "Failed to apply the delegate"], {"gpu": "failed"}),
        (["Use gpu: [1]", "ERROR: Failed to apply XNNPACK delegate."], {"xnnpack": "failed"}),
        (["Use NNAPI: [1]", "NNAPI acceleration is unsupported on this platform."], {"nnapi": "failed"}),
        (["Use gpu: [1]", "Created TensorFlow Lite delegate for GPU.", "Some ops are not accelerated"], {"gpu": None}),
        # Two are asked for, and the line does not say which of them failed.
        (["Use gpu: [1]", "Use NNAPI: [1]", "Failed to apply the delegate"], {}),
        (["Use gpu: [1]", "Use NNAPI: [1]", "Failed to apply NNAPI delegate."], {"nnapi": "failed"}),
    ],
)
def test_a_delegate_failed_only_if_the_log_says_so(lines: list[str], expected: dict[str, str | None]) -> None:
    run = run_of(START + "\n".join(lines) + "\n")
    delegates = [one for one in (run["delegate"], *run["other_delegates"]) if one is not None]
    assert {one["name"]: one["outcome"] for one in delegates} == expected


def test_refused_ops_keep_their_reasons() -> None:
    text = (
        "Use NNAPI: [1]\nOperator CONV_2D (v5) refused by NNAPI delegate: Android sdk version less than 29\n"
        "Next operations are not supported by GPU delegate:\nPAD: Unsupported: shape\nSPLIT: \n"
        "First 9 operations will run on the GPU, and the remaining 3 on the CPU.\n"
    )
    run = run_of(START + text)
    assert run["delegate"]["unsupported_ops"] == [{"op": "CONV_2D", "why": "Android sdk version less than 29"}]
    assert [(gpu["name"], gpu["nodes_delegated"], gpu["nodes_total"]) for gpu in run["other_delegates"]] == [
        ("gpu", 9, None)
    ]
    assert run["other_delegates"][0]["unsupported_ops"] == [
        {"op": "PAD", "why": "Unsupported: shape"},
        {"op": "SPLIT", "why": None},
    ]


def test_runs_that_only_their_figures_part() -> None:
    one = "Running benchmark for at least 1 iterations\ncount=1 curr=5\nRunning benchmark for at least 50 iterations\n"
    log = f"{one}count=50 first=1 avg=2\n{one}count=50 first=3 avg=4\n"
    assert [run["inference"]["avg_us"] for run in parsed(log)["runs"]] == [2, 4]


def test_runs_of_several_tools_in_one_file_are_told_apart() -> None:
    names = ("litert_benchmark_npu", "xnnpack_implicit", "litert_benchmark_gpu", "litert_benchmark_sig")
    missing = b"2026-11-29 22:10:22 ERROR benchmark_litert_model: Model file not found: nothere.tflite\n"
    runs = parsed(b"".join(read(name) for name in names) + missing + read("litert_benchmark_npu"))["runs"]
    single = [run_of(read(name)) for name in names]
    assert runs[:4] == single
    assert runs[4]["error"] == {"kind": "model_load_failure", "message": "Model file not found: nothere.tflite"}
    assert runs[5:] == single[:1]


def test_a_cut_first_run_does_not_leak_into_the_second() -> None:
    runs = parsed(read("truncated") + b"\n" + read("xnnpack_implicit"))["runs"]
    assert runs[0]["truncated"] is True
    assert runs[1:] == parsed(read("xnnpack_implicit"))["runs"]


def test_a_run_whose_beginning_is_cut_off_is_a_run() -> None:
    rest = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nINFO: Initialized TensorFlow Lite runtime.\n"
    runs = parsed(rest + read("xnnpack_implicit"))["runs"]
    assert [delegate["name"] for delegate in runs[0]["other_delegates"]] == ["xnnpack"]
    assert runs[1:] == parsed(read("xnnpack_implicit"))["runs"]


def test_figures_that_are_no_numbers_are_unknown() -> None:
    text = "count=3 first=-1 min=nan max=inf avg=1e999 std=" + "9" * 400 + "\n"
    assert set(run_of(START + text)["warmup"].values()) == {3, None}


def test_a_missing_line_feed_does_not_cost_surely_whole_figures() -> None:
    whole = read("xnnpack_implicit").decode()
    without_peak = whole[: whole.index("INFO: Overall peak")]
    run = run_of(without_peak.rstrip("\n"))
    assert run["memory"]["overall_mb"] == 99.2031
    assert run["truncated"] is False


def figures(value: Any, path: str = "") -> dict[str, float]:
    """All numbers of a result by their place."""
    if isinstance(value, dict):
        return {key: item for name, inner in value.items() for key, item in figures(inner, f"{path}/{name}").items()}
    if isinstance(value, list):
        return {
            key: item for index, inner in enumerate(value) for key, item in figures(inner, f"{path}/{index}").items()
        }
    return {path: value} if isinstance(value, int | float) and not isinstance(value, bool) else {}


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
def test_a_cut_log_states_nothing_that_the_whole_does_not(name: str) -> None:
    data = read(name)
    whole = figures(parsed(data)["runs"])
    known = set(whole.values())
    # A long log is cut at every few bytes: each cut is a whole reading.
    for end in range(0, len(data), 1 if len(data) < 4000 else 17):
        for path, value in figures(parse_log(data[:end]).to_json()["runs"]).items():
            # A session message states the start in six digits, the summary in all.
            exact = value == whole.get(path) or (path.endswith("init_us") and abs(value / whole[path] - 1) < 1e-5)
            assert exact or ("delegate" in path and value in known), (end, path, value, data[:end][-80:])


WITH_RESULTS = [name for name in NAMES if "litert_block" not in name and b"timings in us" in read(name)]


def test_some_logs_have_results() -> None:
    assert len(WITH_RESULTS) > 5


@pytest.mark.parametrize("name", WITH_RESULTS)
def test_a_log_cut_before_its_results_is_truncated(name: str) -> None:
    data = read(name)
    assert parsed(data[: data.index(b"count=") + 20])["runs"][0]["truncated"] is True


@pytest.mark.heavy
@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.binary()))
def test_any_text_is_a_log(data: str | bytes) -> None:
    parsed(data)


@pytest.mark.heavy
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_mixture_of_pieces_of_logs_is_a_log(data: st.DataObject) -> None:
    lines = [line for name in NAMES for line in read(name).split(b"\n")]
    picked = data.draw(st.lists(st.sampled_from(lines), max_size=40))
    cuts = data.draw(st.lists(st.integers(0, 200), min_size=len(picked), max_size=len(picked)))
    parsed(b"\n".join(line[:cut] if cut < 100 else line for line, cut in zip(picked, cuts, strict=True)))
