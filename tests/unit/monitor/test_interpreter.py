"""The adapter of an interpreter: one line, real LiteRT models."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from support.open_models import conv_model, sum_model
from support.quantized import calibrated, images, small_network
from support.recorded_frames import frames, metadata, tensors
from windtunnel.monitor import Monitor
from windtunnel.monitor.interpreter import NOT_KEPT
from windtunnel.v1 import edge_pb2


def _interpreter(model: Path, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = Interpreter(str(model), **options)
    interpreter.allocate_tensors()
    return interpreter


def _run(interpreter: Any, x: Any) -> Any:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def test_one_line(tmp_path: Path) -> None:
    interpreter = _interpreter(small_network(tmp_path / "m.tflite"))
    x = images(1, seed=1)
    y = _run(interpreter, x)
    with Monitor(tmp_path / "log", "io") as monitor:
        interpreter = monitor.interpreter(interpreter)
        np.testing.assert_array_equal(_run(interpreter, x), y)
        np.testing.assert_array_equal(_run(interpreter, x), y)
    recorded = frames(tmp_path / "log")
    assert [frame.number for frame in recorded] == [0, 1]
    for frame in recorded:
        assert tensors(frame) == [("input", ""), ("output", "")]
        assert [tensor.data for tensor in frame.tensors] == [x.tobytes(), y.tobytes()]
        assert [timing.kind for timing in frame.timings] == [
            edge_pb2.EDGE_TIMING_KIND_INFERENCE,
            edge_pb2.EDGE_TIMING_KIND_FRAME,
        ]
    assert metadata(tmp_path / "log", "windtunnel.device")["runtime"].startswith("ai-edge-litert ")
    assert not monitor.faults.counts


def test_in_a_frame_of_the_app(tmp_path: Path) -> None:
    with Monitor(tmp_path / "log", "io", every=2) as monitor:
        interpreter = monitor.interpreter(_interpreter(small_network(tmp_path / "m.tflite")))
        for _ in range(4):
            with monitor.frame(label=1) as frame:
                frame.postprocessed("class", int(_run(interpreter, images(1, seed=1)).argmax()))
    recorded = frames(tmp_path / "log")
    assert [frame.number for frame in recorded] == [0, 2], "an inference in a frame that is left out makes none"
    assert tensors(recorded[0]) == [("input", ""), ("output", ""), ("postprocessed", "class")]
    assert recorded[0].label == 1


def test_what_was_written_in_place_is_seen(tmp_path: Path) -> None:
    with Monitor(tmp_path / "log", "io") as monitor:
        interpreter = monitor.interpreter(_interpreter(small_network(tmp_path / "m.tflite")))
        interpreter.tensor(interpreter.get_input_details()[0]["index"])()[:] = 0.5
        interpreter.invoke()
    (frame,) = frames(tmp_path / "log")
    assert np.frombuffer(frame.tensors[0].data, np.float32).tolist() == [0.5] * 128


def test_quantized_model(tmp_path: Path) -> None:
    float_model = small_network(tmp_path / "m.tflite")
    model = calibrated(float_model, tmp_path / "q.tflite", "int8", images(8, seed=2))
    with Monitor(tmp_path / "log", "statistics") as monitor:
        interpreter = monitor.interpreter(_interpreter(model))
        detail = interpreter.get_input_details()[0]
        x = np.arange(128).reshape(1, 8, 8, 2).astype(detail["dtype"])
        _run(interpreter, x)
    (frame,) = frames(tmp_path / "log")
    given = frame.tensors[0]
    assert (given.scale, given.zero_point) == detail["quantization"]
    assert given.statistics.max == 127
    assert given.element == edge_pb2.EDGE_ELEMENT_INT8 if detail["dtype"] is np.int8 else edge_pb2.EDGE_ELEMENT_FLOAT32


@pytest.mark.parametrize("resolver", [OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES])
def test_layers(tmp_path: Path, resolver: Any) -> None:
    interpreter = _interpreter(
        small_network(tmp_path / "m.tflite"),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=resolver,
    )
    with Monitor(tmp_path / "log", "layers") as monitor:
        monitored = monitor.interpreter(interpreter)
        for seed in (3, 4):
            _run(monitored, images(1, seed=seed))
    for frame, seed in zip(frames(tmp_path / "log"), (3, 4), strict=True):
        _run(interpreter, images(1, seed=seed))
        layers = [tensor for tensor in frame.tensors if tensor.role == edge_pb2.EDGE_ROLE_LAYER]
        names = ["conv_1", "pooled", "conv_2", "conv_3", "flat", "logits", "probabilities"]
        assert [layer.name for layer in layers] == names
        assert [layer.op_index_plus_one for layer in layers] == list(range(1, 8))
        by_name = {detail["name"]: detail["index"] for detail in interpreter.get_tensor_details()}
        for layer in layers:
            assert layer.data == interpreter.get_tensor(by_name[layer.name]).tobytes()
        assert not frame.left_out


@pytest.mark.parametrize("resolver", [OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES])
def test_layers_that_the_interpreter_does_not_keep(
    tmp_path: Path, resolver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with Monitor(tmp_path / "log", "layers") as monitor:
        model = small_network(tmp_path / "m.tflite")
        interpreter = monitor.interpreter(_interpreter(model, experimental_op_resolver_type=resolver))
        _run(interpreter, images(1, seed=3))
        _run(interpreter, images(1, seed=3))
    for frame in frames(tmp_path / "log"):
        assert tensors(frame) == [("input", ""), ("output", "")]
        assert frame.left_out == [NOT_KEPT]
    assert caplog.text.count("experimental_preserve_all_tensors=True") == 1


def test_several_inputs_have_names(tmp_path: Path) -> None:
    model = sum_model(tmp_path / "m.tflite", {"a": (1, 4), "b": (1, 4)})
    with Monitor(tmp_path / "log", "io") as monitor:
        interpreter = monitor.interpreter(_interpreter(model))
        for number, detail in enumerate(interpreter.get_input_details()):
            interpreter.set_tensor(detail["index"], np.full((1, 4), number, np.float32))
        interpreter.invoke()
    (frame,) = frames(tmp_path / "log")
    assert [(role, name.partition(":")[0]) for role, name in tensors(frame)] == [
        ("input", "a"),
        ("input", "b"),
        ("output", ""),
    ]


def test_signature_runner(tmp_path: Path) -> None:
    interpreter = _interpreter(conv_model(tmp_path / "m.tflite"))
    x = np.ones((1, 4, 4, 3), np.float32)
    expected = interpreter.get_signature_runner()(in_0=x)
    with Monitor(tmp_path / "log", "io") as monitor:
        runner = monitor.interpreter(interpreter).get_signature_runner()
        assert list(runner.get_input_details()) == ["in_0"]
        outputs = runner(in_0=x)
        assert outputs.keys() == expected.keys()
        with pytest.raises(ValueError):
            runner(wrong=x)
        monitor.level = "off"
        runner(in_0=x)
    first, failed = frames(tmp_path / "log")
    assert tensors(first) == [("input", ""), ("output", "")]
    assert first.tensors[1].data == next(iter(expected.values())).tobytes()
    assert failed.left_out == ["frame: the app raised ValueError"]


def test_resized_inputs(tmp_path: Path) -> None:
    with Monitor(tmp_path / "log", "io") as monitor:
        interpreter = monitor.interpreter(_interpreter(conv_model(tmp_path / "m.tflite")))
        for size in (4, 6):
            interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], (1, size, size, 3))
            interpreter.allocate_tensors()
            _run(interpreter, np.ones((1, size, size, 3), np.float32))
    assert [list(frame.tensors[0].shape) for frame in frames(tmp_path / "log")] == [[1, 4, 4, 3], [1, 6, 6, 3]]


def test_errors_of_the_interpreter_go_on(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = Interpreter(str(small_network(tmp_path / "m.tflite")))  # no tensors were allocated
    with Monitor(tmp_path / "log", "io") as monitor:
        interpreter = monitor.interpreter(plain)
        with pytest.raises((RuntimeError, ValueError)):
            interpreter.invoke()
        with pytest.raises(AttributeError):
            interpreter.no_such_method()
        interpreter.allocate_tensors()
        _run(interpreter, images(1, seed=1))
    assert tensors(frames(tmp_path / "log")[-1]) == [("input", ""), ("output", "")]


def test_what_is_no_interpreter_is_given_back(tmp_path: Path) -> None:
    thing = object()
    with Monitor(tmp_path / "log", "io") as monitor:
        assert monitor.interpreter(thing) is thing
    assert list(monitor.faults.counts) == ["_wrapped"]


def test_level_off_leaves_the_interpreter_alone(tmp_path: Path) -> None:
    with Monitor(tmp_path / "log", "off") as monitor:
        _run(monitor.interpreter(_interpreter(small_network(tmp_path / "m.tflite"))), images(1, seed=1))
    assert not (tmp_path / "log").exists()
