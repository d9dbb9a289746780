"""Wraps an interpreter of LiteRT or TensorFlow Lite, so that every inference is recorded.

Inputs are read from the interpreter just before the inference, so that what an app wrote in place is seen too, and
outputs just after it. The Python interface of the runtime gives no times of layers; the log has those of the inference.
"""

from __future__ import annotations

import importlib.metadata
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from windtunnel.monitor.frame import Frame, NoFrame
from windtunnel.monitor.guard import Faults, guarded
from windtunnel.monitor.messages import Level, Role

NOT_KEPT = "layers: the interpreter does not keep them; make it with experimental_preserve_all_tensors=True"
# Their output may lie where their input lies: the values are the same.
_SAME_VALUES = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "BITCAST"}
_PACKAGES = {"ai_edge_litert": "ai-edge-litert", "tensorflow": "tensorflow", "tflite_runtime": "tflite-runtime"}


class MonitorOfInterpreters(Protocol):
    """What the wrapper needs of its monitor."""

    faults: Faults

    @property
    def recording_level(self) -> int:
        """How much is recorded now."""
        ...

    def frame_of_inference(self) -> tuple[Frame | NoFrame, bool]:
        """The open frame, or a new one, and whether it is new."""
        ...

    def describe(self, **device: Any) -> None:
        """Add facts of the device.

        Args:
            **device: The facts by name.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Part:
    """An input or output."""

    index: int
    name: str
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class _Layer:
    """An output of an op."""

    op_index: int
    op: str
    part: _Part


class MonitoredInterpreter:
    """Used as the interpreter that it wraps; `invoke` and signature runners record."""

    def __init__(self, monitor: MonitorOfInterpreters, interpreter: Any) -> None:
        """Wrap an interpreter.

        Args:
            monitor: The monitor.
            interpreter: The interpreter.
        """
        self._monitor = monitor
        self._interpreter = interpreter
        self._invoke: Callable[[], None] = interpreter.invoke
        self._parts: tuple[tuple[_Part, ...], tuple[_Part, ...]] | None = None
        self._layers: tuple[_Layer, ...] | None = None
        self.faults = monitor.faults
        # As fast as the interpreter's own.
        self.set_tensor, self.get_tensor, self.tensor = (
            interpreter.set_tensor,
            interpreter.get_tensor,
            interpreter.tensor,
        )
        monitor.describe(runtime=_runtime(interpreter))

    def __getattr__(self, name: str) -> Any:
        """Give any other attribute of the interpreter.

        Args:
            name: Name of the attribute.

        Returns:
            The attribute of the interpreter.
        """
        return getattr(self._interpreter, name)

    def allocate_tensors(self) -> Any:
        """Allocate tensors; the layers may lie elsewhere then."""
        self._layers = None
        return self._interpreter.allocate_tensors()

    def invoke(self) -> None:
        """Run the model and record its inputs, outputs and time."""
        if not self._monitor.recording_level:
            self._invoke()
            return
        opened = self._opened()
        if opened is None:
            self._invoke()
            return
        with _Entered(opened) as frame:
            if isinstance(frame, NoFrame):
                self._invoke()
                return
            self._record(frame, Role.INPUT)
            with frame.inference():
                self._invoke()
            self._record(frame, Role.OUTPUT)

    def get_signature_runner(self, signature_key: str | None = None) -> Any:
        """Make a runner of a signature whose calls are recorded.

        Args:
            signature_key: Its key, or None for the only one.

        Returns:
            A runner that is used as the interpreter's.
        """
        return MonitoredRunner(self, self._interpreter.get_signature_runner(signature_key))

    @guarded
    def _opened(self) -> tuple[Frame | NoFrame, bool] | None:
        return self._monitor.frame_of_inference()

    @guarded
    def _record(self, frame: Frame, role: int) -> None:
        if self._parts is None:
            interpreter = self._interpreter
            self._parts = (_parts(interpreter.get_input_details()), _parts(interpreter.get_output_details()))
        record = frame.input if role == Role.INPUT else frame.output
        for part in self._parts[role == Role.OUTPUT]:
            record(self._value(part.index), part.name, part.scale, part.zero_point)
        if role == Role.OUTPUT and frame.level == Level.LAYERS:
            self.record_layers(frame)

    @guarded
    def record_layers(self, frame: Frame) -> None:
        """Record the outputs of all layers, if the interpreter keeps them.

        Args:
            frame: The frame.
        """
        if self._layers is None:
            self._layers = _layers(self._interpreter)
            if not self._layers:
                self.faults.count("interpreter", NOT_KEPT)
        if not self._layers:
            frame.leave_out(NOT_KEPT)
        for layer in self._layers:
            part = layer.part
            frame.layer(part.name, self._value(part.index), part.scale, part.zero_point, layer.op_index)

    def _value(self, index: int) -> Any:
        """A tensor in the memory of the interpreter, which refuses to run as long as something refers to it."""
        try:
            return self.tensor(index)()
        except (RuntimeError, ValueError):
            return self.get_tensor(index)


class MonitoredRunner:
    """Used as the signature runner that it wraps; calls are recorded."""

    def __init__(self, interpreter: MonitoredInterpreter, runner: Any) -> None:
        """Wrap a runner.

        Args:
            interpreter: Its interpreter, wrapped.
            runner: The runner.
        """
        self._wrapped = interpreter
        self._runner = runner
        self._quantization: Mapping[str, tuple[float, int]] | None = None
        self.faults = interpreter.faults

    def __getattr__(self, name: str) -> Any:
        """Give any other attribute of the runner.

        Args:
            name: Name of the attribute.

        Returns:
            The attribute of the runner.
        """
        return getattr(self._runner, name)

    def __call__(self, **inputs: Any) -> Any:
        """Run the signature and record its inputs, outputs and time.

        Args:
            **inputs: The inputs by name.

        Returns:
            The outputs by name.
        """
        wrapped = self._wrapped
        if not wrapped._monitor.recording_level or (opened := wrapped._opened()) is None:
            return self._runner(**inputs)
        with _Entered(opened) as frame:
            if isinstance(frame, NoFrame):
                return self._runner(**inputs)
            self._record(frame.input, inputs)
            with frame.inference():
                outputs = self._runner(**inputs)
            self._record(frame.output, outputs)
            if frame.level == Level.LAYERS:
                wrapped.record_layers(frame)
            return outputs

    @guarded
    def _record(self, record: Callable[[Any, str, float, int], None], values: Mapping[str, Any]) -> None:
        if self._quantization is None:
            details = {**self._runner.get_input_details(), **self._runner.get_output_details()}
            self._quantization = {name: detail["quantization"] for name, detail in details.items()}
        for name, value in values.items():
            scale, zero_point = self._quantization.get(name, (0.0, 0))
            record(value, name if len(values) > 1 else "", float(scale), int(zero_point))


class _Entered(AbstractContextManager["Frame | NoFrame"]):
    """Enters and leaves a frame that is new, and leaves one alone that the app opened."""

    def __init__(self, opened: tuple[Frame | NoFrame, bool]) -> None:
        """Enter nothing yet.

        Args:
            opened: The frame, and whether it is new.
        """
        self._frame, self._new = opened

    def __enter__(self) -> Frame | NoFrame:
        if self._new:
            self._frame.__enter__()
        return self._frame

    def __exit__(self, *error: Any) -> None:
        if self._new:
            self._frame.__exit__(*error)


def _parts(details: list[dict[str, Any]]) -> tuple[_Part, ...]:
    """Inputs or outputs; the only one needs no name."""
    return tuple(_part(detail, detail["name"] if len(details) > 1 else "") for detail in details)


def _part(detail: Mapping[str, Any], name: str) -> _Part:
    scale, zero_point = detail["quantization"]
    return _Part(int(detail["index"]), name, float(scale), int(zero_point))


def _layers(interpreter: Any) -> tuple[_Layer, ...]:
    """The layers of the model, or none if their memory is used again during the inference."""
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    layers = tuple(
        _Layer(op["index"], op["op_name"], _part(details[output], details[output]["name"]))
        for op in interpreter._get_ops_details()
        if op["op_name"] != "DELEGATE"
        for output in op["outputs"]
        if output in details
    )
    try:
        spans = sorted(_spans(interpreter, layers))
    except ValueError:  # "Tensor data is null": within a delegate
        return ()
    kept = all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    return layers if kept else ()


def _spans(interpreter: Any, layers: tuple[_Layer, ...]) -> Iterator[tuple[int, int]]:
    """Where the layers are in memory."""
    for layer in layers:
        if layer.op not in _SAME_VALUES:
            array = interpreter.tensor(layer.part.index)()
            if array.nbytes:
                start = array.__array_interface__["data"][0]
                yield start, start + array.nbytes


def _runtime(interpreter: Any) -> str:
    package = type(interpreter).__module__.partition(".")[0]
    for name in (_PACKAGES.get(package, package), f"{package}-cpu"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return package
