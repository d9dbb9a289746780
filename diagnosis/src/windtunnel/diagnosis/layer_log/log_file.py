"""A file of what a model's layers held, frame by frame.

    magic "WTLAYERS", then the header and every frame: length (u32), CRC-32 (u32), bytes; little endian.

The header is deflated JSON: model (name, sha256), runtime, inputs and layers (name, dtype, shape, quantization),
mode and coding. A frame is whole or not there: a log cut anywhere reads up to its last whole frame, and `tail` says
what follows. Modes:

- `lossless`: the frame's inputs, and per layer what is missing from the model's own prediction of it: on the runtime
  that wrote the log nothing but a checksum. Coding "predicted" needs the model to read; another runtime that computes
  other values is found by the checksums, layer by layer. Models whose values do not follow from the frame's inputs
  (variables, random ops) are coded "plain": every layer deflated.
- `statistics`: 56 bytes per layer (`log_codec.Statistics`), enough to estimate the nRMSE between two logs.

Writing and reading "predicted" logs runs native code: in a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

import numpy as np
from numpy.typing import NDArray

from windtunnel.accelerators import spelled_in_comparisons
from windtunnel.diagnosis.layer_log.codec import SEED, SKETCH, Sketcher, Statistics, Torn, pack, unpack
from windtunnel.diagnosis.layer_log.header import require_header
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.tflite import ModelFacts, Quantization, Runner, TensorFacts, dequantize, layer_tensors

Mode = Literal["lossless", "statistics"]
SCHEMA = "windtunnel.layer_log/1"
_MAGIC = b"WTLAYERS"
_BLOCK = struct.Struct("<II")
_MOST_HEADER = 64 * 1024**2
_UNPREDICTABLE = frozenset({"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE", "MULTINOMIAL", "CUSTOM"})


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: `layers` are arrays as stored by name (lossless), `statistics` by name (statistics).

    `unreadable` names layers of a lossless frame that only the runtime of the writer would give back.
    """

    number: int
    inputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    layers: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()


class LogWriter:
    """Writes the layers of one model.

    Args:
        path: the file. An existing one is replaced, unless `append` is true and it is a log of the same model and mode.
        runner: made with `preserve_all`; each `add` takes the layers of its last run.
        mode: lossless, or statistics.
        append: continue after the last whole frame.
    """

    def __init__(self, path: Path, runner: Runner, mode: Mode = "lossless", *, append: bool = False) -> None:
        self.path = path
        self._tensors = _log_tensors(runner.facts)
        self._mode = mode
        coding = _coding(runner.facts, mode)
        header = _block(zlib.compress(json.dumps(_header(runner, mode, coding), sort_keys=True).encode(), 9))
        self._predictor = runner.twin() if coding == "predicted" else None
        self._sketcher = Sketcher()
        self._ends = [len(_MAGIC) + len(header)]
        found = _ends_of(path, _MAGIC + header) if append else None
        if found is None:
            path.write_bytes(_MAGIC + header)
        else:
            self._ends = found
        self._file: BinaryIO = path.open("r+b")
        self.keep(self.frames)

    @property
    def frames(self) -> int:
        """How many whole frames the log holds."""
        return len(self._ends) - 1

    def keep(self, frames: int) -> None:
        """Cuts the log.

        Args:
            frames: how many stay.
        """
        del self._ends[frames + 1 :]
        self._file.truncate(self._ends[-1])
        self._file.seek(self._ends[-1])

    def add(self, runner: Runner) -> None:
        """Appends a frame.

        Args:
            runner: after the run to log.
        """
        payload = self._statistics(runner) if self._mode == "statistics" else self._lossless(runner)
        block = _block(payload)
        self._file.write(block)
        self._ends.append(self._ends[-1] + len(block))

    def flush(self) -> None:
        """Hands what was written to the operating system: a kill of this process no longer loses it."""
        self._file.flush()

    def close(self) -> None:
        """Ends the log."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lossless(self, runner: Runner) -> bytes:
        parts = [pack(runner.fed[tensor.index], None) for tensor in runner.facts.inputs]
        if self._predictor is not None:
            self._predictor.run({tensor.name: runner.fed[tensor.index] for tensor in runner.facts.inputs})
        for _, tensor in self._tensors:
            predicted = None if self._predictor is None else self._predictor.view(tensor.index)
            parts.append(pack(runner.view(tensor.index), predicted))
        return b"".join(parts)

    def _statistics(self, runner: Runner) -> bytes:
        made = [
            self._sketcher.statistics(dequantize(runner.view(tensor.index), tensor.quantization), self.frames).pack()
            for _, tensor in self._tensors
        ]
        return zlib.compress(b"".join(made), 9)


class LayerLog:
    """A log to read. Going through it gives its whole frames; it can be gone through again.

    `tail` says what follows the last whole frame; None: nothing.

    Args:
        path: the file.
        model: its .tflite file, which a lossless log needs; None: next to the log, under the name in the log.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file is not a layer log, is of a newer version, or needs another model.
    """

    def __init__(self, path: Path, model: Path | None = None) -> None:
        self.path = path
        self.header, self._ends, self.tail = _scan(path)
        self._model = _model_for(self, model) if self.header["coding"] == "predicted" else None

    @property
    def frames(self) -> int:
        """How many whole frames there are."""
        return len(self._ends) - 1

    @property
    def mode(self) -> Mode:
        """What the frames hold."""
        return "statistics" if self.header["mode"] == "statistics" else "lossless"

    def quantization(self, layer: str) -> Quantization | None:
        """The quantization of a layer.

        Args:
            layer: its name.

        Returns:
            None: it is not quantized.

        Raises:
            NotFound: the log has no such layer.
        """
        found = next((one for one in self.header["layers"] if one["name"] == layer), None)
        if found is None:
            raise NotFound(f"{self.path.name} has no layer {layer!r}")
        if not found["scales"]:
            return None
        return Quantization(tuple(found["scales"]), tuple(found["zero_points"]), found["axis"])

    def __iter__(self) -> Iterator[Frame]:
        runner = None if self._model is None else self._runner(self._model)
        with self.path.open("rb") as file:
            for number, start in enumerate(self._ends[:-1]):
                file.seek(start + _BLOCK.size)
                payload = file.read(self._ends[number + 1] - start - _BLOCK.size)
                try:
                    yield (
                        self._statistics(number, payload)
                        if runner is None and self.mode == "statistics"
                        else (self._lossless(number, payload, runner))
                    )
                except (Torn, zlib.error) as error:
                    raise InvalidInput(f"frame {number} of {self.path.name} is not a frame: {error}") from error

    def _runner(self, model: Path) -> Runner:
        runtime = self.header["runtime"]
        return Runner(model, threads=runtime["threads"], accelerator=runtime["accelerator"], preserve_all=True)

    def _statistics(self, number: int, payload: bytes) -> Frame:
        data, at, found = zlib.decompress(payload), 0, {}
        for layer in self.header["layers"]:
            found[layer["name"]], at = Statistics.unpack(data, at)
        return Frame(number, statistics=found)

    def _lossless(self, number: int, payload: bytes, runner: Runner | None) -> Frame:
        inputs: dict[str, NDArray[Any]] = {}
        layers: dict[str, NDArray[Any]] = {}
        at, unreadable = 0, []
        for entry in self.header["inputs"]:
            array, at = unpack(payload, at, entry["dtype"], None)
            if array is None:
                raise Torn("an input is missing")
            inputs[entry["name"]] = array
        if runner is not None:
            runner.run(inputs)
        for entry in self.header["layers"]:
            predicted = None if runner is None else runner.view(entry["index"])
            array, at = unpack(payload, at, entry["dtype"], predicted)
            if array is None:
                unreadable.append(entry["name"])
            else:
                layers[entry["name"]] = np.array(array)
        return Frame(number, inputs, layers, unreadable=tuple(unreadable))


def read_log(path: Path, model: Path | None = None) -> Iterator[Frame]:
    """The whole frames of a log, in order.

    Args:
        path: the file.
        model: as for `LayerLog`.

    Returns:
        An iterator; what cannot be read ends it.
    """
    return iter(LayerLog(path, model))


def _coding(facts: ModelFacts, mode: Mode) -> str:
    if mode == "statistics":
        return "statistics"
    stateful = any(tensor.is_variable for tensor in facts.tensors)
    ops = {"CUSTOM" if op.is_custom else op.name for graph in facts.graphs for op in graph.ops}
    random = any(name.startswith(("RANDOM_", "STABLEHLO_RNG")) for name in ops)
    return "plain" if stateful or random or ops & _UNPREDICTABLE else "predicted"


def _log_tensors(facts: ModelFacts) -> list[tuple[int, TensorFacts]]:
    """Layers with their op, each under a name of its own: the header distinguishes them by name."""
    found: dict[int, tuple[int, TensorFacts]] = {}
    for op, tensor in layer_tensors(facts):
        found.setdefault(tensor.index, (op, tensor))
    return list(found.values())


def _header(runner: Runner, mode: Mode, coding: str) -> dict[str, Any]:
    facts = runner.facts
    layers, taken = [], set()
    for op, tensor in _log_tensors(facts):
        name = tensor.name if tensor.name not in taken else f"{tensor.name}#{tensor.index}"
        taken.add(name)
        layers.append(_entry(tensor) | {"name": name, "op_index": op, "op": facts.ops[op].name})
    with facts.path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "schema": SCHEMA,
        "mode": mode,
        "coding": coding,
        "model": {"name": facts.path.name, "sha256": sha256, "size_bytes": facts.size_bytes},
        "runtime": {
            "name": "ai-edge-litert",
            "version": version("ai-edge-litert"),
            "accelerator": spelled_in_comparisons(runner.accelerator),
            "threads": runner.threads,
        },
        "inputs": [_entry(tensor) for tensor in facts.inputs],
        "layers": layers,
        "sketch": {"size": SKETCH, "seed": SEED} if mode == "statistics" else None,
    }


def _entry(tensor: TensorFacts) -> dict[str, Any]:
    quantization = tensor.quantization
    return {
        "index": tensor.index,
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape_signature),
        "scales": list(quantization.scales) if quantization else [],
        "zero_points": list(quantization.zero_points) if quantization else [],
        "axis": quantization.axis if quantization else 0,
    }


def _block(data: bytes) -> bytes:
    return _BLOCK.pack(len(data), zlib.crc32(data)) + data


def _ends_of(path: Path, start: bytes) -> list[int] | None:
    """Where header and whole frames end, in a log that begins with `start`; None if there is none."""
    try:
        with path.open("rb") as file:
            if file.read(len(start)) != start:
                return None
        return _scan(path)[1]
    except (OSError, InvalidInput):
        return None


def _scan(path: Path) -> tuple[dict[str, Any], list[int], str | None]:
    """(header, ends of header and of every whole frame, what follows them).

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is not a layer log.
    """
    if not path.is_file():
        raise NotFound(f"there is no layer log at {path}")
    with path.open("rb") as file:
        magic = file.read(len(_MAGIC))
        data = _read_block(file) if magic == _MAGIC else None
        if data is None:
            raise InvalidInput(f"{path.name} is not a layer log, or was cut within its header")
        header = _parsed(path, data)
        ends = [file.tell()]
        while (data := _read_block(file)) is not None:
            ends.append(file.tell())
        rest = path.stat().st_size - ends[-1]
        file.seek(ends[-1])
        why = _why(file, rest)
    tail = f"{rest} bytes after frame {len(ends) - 1} are not read: {why}" if rest else None
    return header, ends, tail


def _why(file: BinaryIO, rest: int) -> str:
    """What is wrong with the bytes after the last frame."""
    head = file.read(_BLOCK.size)
    if len(head) == _BLOCK.size and _BLOCK.size + _BLOCK.unpack(head)[0] <= rest:
        return "the log is damaged, a checksum there is wrong"
    return "the log was cut there, or is damaged"


def _read_block(file: BinaryIO) -> bytes | None:
    head = file.read(_BLOCK.size)
    if len(head) < _BLOCK.size:
        return None
    size, check = _BLOCK.unpack(head)
    data = file.read(size)
    return data if len(data) == size and zlib.crc32(data) == check else None


def _parsed(path: Path, data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(zlib.decompressobj().decompress(data, _MOST_HEADER))
    except (zlib.error, ValueError, RecursionError) as error:
        raise InvalidInput(f"the header of {path.name} cannot be read: {error}", hint="write the log again") from error
    schema = header.get("schema") if isinstance(header, dict) else None
    if schema != SCHEMA:
        raise InvalidInput(f"{path.name} is {schema!r}, not {SCHEMA!r}", hint="read it with a newer windtunnel")
    found: dict[str, Any] = header
    require_header(found, path.name)
    return found


def _model_for(log: LayerLog, model: Path | None) -> Path:
    name, sha256 = log.header["model"]["name"], log.header["model"]["sha256"]
    path = model or log.path.parent / name
    hint = f"give the model {name} of the sha256 {sha256}"
    if not path.is_file():
        raise InvalidInput(f"{log.path.name} is read with its model, and there is none at {path}", hint=hint)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise InvalidInput(f"{path.name} is not the model that {log.path.name} was written with", hint=hint)
    return path
