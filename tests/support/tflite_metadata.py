"""TFLite metadata as tflite-support writes it: a FlatBuffer in the model, and files in a ZIP archive at its end."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from windtunnel.datacheck.metadata import NAME

_IMAGE, _AUDIO, _NORMALIZATION, _BERT = 2, 4, 1, 4


class MetadataWriter:
    """Writes the metadata of a model. Slots are the places of the fields in metadata_schema.fbs."""

    def __init__(self) -> None:
        self._builder = flatbuffers.Builder()
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(
        self,
        *,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        color: int | None = None,
        sample_rate: int | None = None,
        vocabulary: str | None = None,
    ) -> MetadataWriter:
        """An input and its properties; `color` 1 is RGB, 2 gray."""
        units = []
        if mean:
            options = self._table(2, {0: self._numbers(mean), 1: self._numbers(std)})
            units.append(self._table(2, {0: ("B", _NORMALIZATION), 1: options}))
        if vocabulary is not None:
            options = self._table(1, {0: self._vector([self._file(vocabulary, 5)])})
            units.append(self._table(2, {0: ("B", _BERT), 1: options}))
        fields: dict[int, Any] = {4: self._vector(units)} if units else {}
        if color is not None:
            fields[3] = self._table(3, {0: ("B", _IMAGE), 1: self._table(2, {0: ("b", color)})})
        if sample_rate is not None:
            fields[3] = self._table(3, {0: ("B", _AUDIO), 1: self._table(2, {0: ("I", sample_rate)})})
        self._inputs.append(self._table(7, fields))
        return self

    def labels(self, name: str) -> MetadataWriter:
        """An output whose classes a file names."""
        self._outputs.append(self._table(7, {6: self._vector([self._file(name, 2)])}))
        return self

    def add_to(self, path: Path, files: Mapping[str, str] | None = None) -> Path:
        """Puts the metadata into a model, and files behind it."""
        fields = {2: self._vector(self._inputs)}
        if self._outputs:
            fields[3] = self._vector(self._outputs)
        graph = self._table(9, fields)
        self._builder.Finish(self._table(8, {3: self._vector([graph])}), b"M001")
        path.write_bytes(_with_entry(path.read_bytes(), bytes(self._builder.Output())))
        if files:
            packed = io.BytesIO(path.read_bytes())
            with zipfile.ZipFile(packed, "a") as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
            path.write_bytes(packed.getvalue())
        return path

    def _file(self, name: str, kind: int) -> Any:
        return self._table(5, {0: self._builder.CreateString(name), 2: ("b", kind)})

    def _numbers(self, values: Sequence[float]) -> Any:
        return self._builder.CreateNumpyVector(np.asarray(values, np.float32))

    def _vector(self, items: Sequence[Any]) -> Any:
        self._builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            self._builder.PrependUOffsetTRelative(item)
        return self._builder.EndVector()

    def _table(self, slots: int, fields: Mapping[int, Any]) -> Any:
        builder = self._builder
        builder.StartObject(slots)
        for slot, value in fields.items():
            if not isinstance(value, tuple):
                builder.PrependUOffsetTRelativeSlot(slot, value, 0)
            elif value[0] == "B":
                builder.PrependUint8Slot(slot, value[1], 0)
            elif value[0] == "b":
                builder.PrependInt8Slot(slot, value[1], 0)
            else:
                builder.PrependUint32Slot(slot, value[1], 0)
        return builder.EndObject()


def _with_entry(content: bytes, metadata: bytes) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(content)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = NAME, len(model.buffers)
    buffer.data = np.frombuffer(metadata, np.uint8)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
