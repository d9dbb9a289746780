"""The pipeline that a model is probably made for: from its metadata, its input, its quantization, its file's name.

It reports what was found, with the place, and what was assumed: a guess is a start, not a proof.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Final

import numpy as np

from windtunnel.datacheck.metadata import InputMetadata, NamedFiles, input_metadata, named_files
from windtunnel.datacheck.ranges import expected_range
from windtunnel.errors import Unsupported
from windtunnel.input_shapes import bare_name, shape_words
from windtunnel.pipeline import SCHEMA, ReadyPipeline, ready_names, ready_pipeline
from windtunnel.tflite.dtypes import COUNT_DTYPES
from windtunnel.tflite.facts import ModelFacts, TensorFacts

_BYTE: Final = 255.0
_MOST_FILE_BYTES: Final = 64 * 1024**2
# Lengths of waveforms that are those of a known family, with its sample rate.
_WAVEFORMS: Final[Mapping[int, tuple[str, int]]] = {
    15_600: ("YAMNet", 16_000),
    16_000: ("speech commands", 16_000),
    44_032: ("Model Maker's speech commands", 44_100),
}
_SHORTEST_WAVEFORM: Final = 4000
_SPECTRA: Final[Mapping[tuple[int, ...], str]] = {
    (96, 64): "yamnet_features",
    (124, 129): "speech_commands_spectrogram",
}
_ROLES: Final = ("input_ids", "input_mask", "segment_ids")
_WRITE: Final = "write a pipeline.json, see `windtunnel pipelines list` and docs/pipeline.md"


@dataclass(frozen=True, slots=True)
class PipelineGuess:
    """A guessed pipeline.

    Attributes:
        pipeline: content of a pipeline.json.
        found: what the model says, as sentences with the place.
        assumed: what nothing says.
        files: what the pipeline names, by the path next to it.
        labels: names of the classes, if the model carries them.
    """

    pipeline: Mapping[str, Any]
    found: tuple[str, ...]
    assumed: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    labels: tuple[str, ...] = ()


@dataclass(slots=True)
class _Notes:
    """Collects what was found and what was assumed."""

    found: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)


def guess_pipeline(model: ModelFacts) -> PipelineGuess:
    """Guesses how raw samples become what a model takes.

    Args:
        model: the facts of a .tflite file.

    Returns:
        The guess.

    Raises:
        Unsupported: the inputs look like none of images, waveforms, spectra of a known family and texts.
    """
    notes, said, files = _Notes(), input_metadata(model), named_files(model)
    if _is_text(model):
        pipeline = _text(model, files, notes)
    elif len(model.inputs) == 1:
        about = said[0] if said else InputMetadata()
        pipeline = _one_input(model, about, notes)
    else:
        names = ", ".join(_called(model, tensor) for tensor in model.inputs)
        raise Unsupported(
            f"{model.path.name} has {len(model.inputs)} inputs ({names}) that are not of a text", hint=_WRITE
        )
    carried = _carried(model, files)
    vocabularies = {PurePath(name).name: carried[name] for name in files.vocabularies if name in carried}
    labels = next((_lines(carried[name]) for name in files.labels if name in carried), ())
    if labels:
        notes.found.append(f"labels: {len(labels)} names in {files.labels[0]}, in the model's file")
    document = {"schema": SCHEMA, **pipeline}
    return PipelineGuess(document, tuple(notes.found), tuple(notes.assumed), vocabularies, labels)


def _one_input(model: ModelFacts, said: InputMetadata, notes: _Notes) -> dict[str, Any]:
    tensor = model.inputs[0]
    shape = tensor.shape_signature
    inner = tuple(size for size in shape[1:] if size != 1)
    if len(shape) == 4 and (3 in (shape[3], shape[1])):
        return _image(model, said, notes)
    if inner in _SPECTRA:
        ready = ready_pipeline(_SPECTRA[inner])
        notes.found.append(f"input: {shape_words(shape)}, as {ready.title}")
        notes.assumed += [f"the family: {ready.name}, by the shape alone", *ready.assumed]
        return _without_head(ready.pipeline.to_json())
    longest = max(shape, default=0)
    if said.sample_rate_hz or (len(inner) <= 1 and longest >= _SHORTEST_WAVEFORM and len(shape) <= 2):
        return _waveform(shape, said, notes)
    gray = "one channel: no op makes it from RGB; " if said.is_gray or (len(shape) == 4 and shape[3] == 1) else ""
    raise Unsupported(
        f"the input {_called(model, tensor)} of {model.path.name} takes {tensor.dtype} {shape_words(shape)}, which "
        "looks like none of images, waveforms and texts",
        hint=gray + _WRITE,
    )


def _image(model: ModelFacts, said: InputMetadata, notes: _Notes) -> dict[str, Any]:
    tensor = model.inputs[0]
    shape = tensor.shape_signature
    channels_first = shape[1] == 3 and shape[3] != 3
    height, width = shape[2:4] if channels_first else shape[1:3]
    ready = _named_family(model)
    default = _size_of(ready) or [224, 224]
    size = [int(side) if side > 0 else default[place] for place, side in enumerate((height, width))]
    notes.found.append(
        f"input: {tensor.dtype} {shape_words(shape)}" + (", an image by the metadata" if said.is_image else "")
    )
    if -1 in (height, width):
        notes.assumed.append(f"size {size[0]} x {size[1]}: the input is open")
    steps: list[dict[str, Any]] = [{"op": "resize", "size": size, "method": "bilinear", "antialias": False}]
    notes.assumed.append("resize: bilinear without antialiasing, the aspect not kept")
    steps += _values(model, said, ready, notes)
    if tensor.quantization is None and np.dtype(tensor.dtype).kind in "iu":
        steps.append({"op": "cast", "to": tensor.dtype, "rounding": "nearest", "saturate": True})
    if channels_first:
        steps.append({"op": "layout", "to": "NCHW"})
    task = "classification" if ready is None else ready.pipeline.task
    return {"task": task, "steps": steps}


def _values(model: ModelFacts, said: InputMetadata, ready: ReadyPipeline | None, notes: _Notes) -> list[dict[str, Any]]:
    """The steps after resize: channel order and normalization."""
    if said.mean and said.std and all(said.std) and {len(said.mean), len(said.std)} <= {1, 3}:
        mean, std = np.broadcast_arrays(said.mean, said.std)
        notes.found.append(f"normalization: mean {list(said.mean)}, std {list(said.std)}, in the metadata")
        return _normalize((1 / std).tolist(), (-mean / std).tolist())
    tensor = model.inputs[0]
    if tensor.quantization is not None and tensor.quantization.scales == (1.0,):
        low = float(np.iinfo(tensor.dtype).min - tensor.quantization.zero_points[0])
        notes.found.append(f"values {low:g} to {low + _BYTE:g}: the quantization of the input has scale 1")
        return _normalize([1.0], [low])
    expected = expected_range(model, tensor)
    family = [] if ready is None else [step for step in ready.pipeline.to_json()["steps"] if step["op"] != "resize"]
    if expected is not None and not any(step["op"] == "channel_order" for step in family):
        notes.found.append(f"values {expected.values}: {expected.source}")
        return _normalize([expected.values.span / _BYTE], [expected.values.low])
    if ready is not None:
        notes.assumed.append(f"the family: {ready.title}, by the file's name")
        return family
    if np.dtype(tensor.dtype).kind in "iu":
        notes.assumed.append("values 0 to 255, as the input's type suggests")
        return []
    notes.assumed.append("values from -1 to 1 and RGB, as most families have them: nothing in the file says it")
    return _normalize([2 / _BYTE], [-1.0])


def _normalize(scale: Sequence[float], offset: Sequence[float]) -> list[dict[str, Any]]:
    """The step, with a number for each channel only where they differ; none if it changes nothing."""
    one = len(set(scale)) == 1 and len(set(offset)) == 1
    if one and np.isclose(scale[0], 1.0, rtol=1e-3) and abs(offset[0]) < 1e-3:
        return []
    if one:
        return [{"op": "normalize", "scale": scale[0], "offset": offset[0] + 0.0}]
    return [{"op": "normalize", "scale": list(scale), "offset": list(offset)}]


def _waveform(shape: Sequence[int], said: InputMetadata, notes: _Notes) -> dict[str, Any]:
    length = max(shape)
    family, rate = _WAVEFORMS.get(length, ("", 16_000))
    notes.found.append(f"input: {shape_words(shape)}, a waveform")
    if said.sample_rate_hz:
        rate = said.sample_rate_hz
        notes.found.append(f"sample rate: {rate} Hz, in the metadata")
    else:
        why = f"the length is that of {family}" if family else "nothing in the file says it"
        notes.assumed.append(f"sample rate {rate} Hz: {why}")
    steps: list[dict[str, Any]] = [{"op": "resample", "to": rate, "method": "polyphase"}]
    if length > 1:
        steps.append({"op": "pad", "length": int(length), "value": 0})
        notes.assumed.append("a waveform of another length is cut, or padded with silence")
    return {"task": "audio", "steps": steps}


def _is_text(model: ModelFacts) -> bool:
    """Whether all inputs are ids: whole numbers, one list of each sample."""
    return all(
        tensor.quantization is None and tensor.dtype in COUNT_DTYPES and len(tensor.shape_signature) == 2
        for tensor in model.inputs
    )


def _text(model: ModelFacts, files: NamedFiles, notes: _Notes) -> dict[str, Any]:
    ready = ready_pipeline("mobilebert").pipeline.to_json()["inputs"]
    vocabulary = PurePath(files.vocabularies[0]).name if files.vocabularies else "vocab.txt"
    if files.vocabularies:
        notes.found.append(f"a BERT tokenizer with the vocabulary {vocabulary}, in the metadata")
    else:
        notes.assumed.append(f"a BERT tokenizer (uncased) with the vocabulary {vocabulary} next to the pipeline.json")
    notes.assumed.append("lower case without accents, as uncased models have it")
    inputs: dict[str, Any] = {}
    for tensor, role in zip(model.inputs, _roles(model, notes), strict=True):
        name, length = _called(model, tensor), tensor.shape_signature[1]
        notes.found.append(f"input: {name} {shape_words(tensor.shape_signature)}, taken for {role}")
        if length <= 0:
            length = 128
            notes.assumed.append(f"{length} tokens: the input {name} is open")
        inputs[name] = {"steps": [_resized(step, vocabulary, length) for step in ready[role]["steps"]]}
    return {"task": "text", "inputs": inputs}


def _roles(model: ModelFacts, notes: _Notes) -> list[str]:
    """Which of a BERT model's inputs each input is: by their names, or by their order if the names do not say it.

    Raises:
        Unsupported: there are more of them.
    """
    by_name = [_role(f"{_called(model, tensor)} {bare_name(tensor.name)}") for tensor in model.inputs]
    if len(set(by_name)) == len(by_name):
        return by_name
    if len(by_name) > len(_ROLES):
        raise Unsupported(f"{model.path.name} has {len(by_name)} inputs of ids, a BERT model has 3", hint=_WRITE)
    notes.assumed.append(f"the inputs are {', '.join(_ROLES[: len(by_name)])}, by their order")
    return list(_ROLES[: len(by_name)])


def _role(name: str) -> str:
    """Which of a BERT model's inputs a name means."""
    if "mask" in name.lower():
        return "input_mask"
    return "segment_ids" if re.search("segment|type", name.lower()) and "word" not in name.lower() else "input_ids"


def _resized(step: Mapping[str, Any], vocabulary: str, length: int) -> dict[str, Any]:
    changes: dict[str, dict[str, Any]] = {"tokenize": {"vocabulary": vocabulary}, "pad": {"length": int(length)}}
    return {**step, **changes.get(step["op"], {})}


def _named_family(model: ModelFacts) -> ReadyPipeline | None:
    """The ready pipeline for images that the file's name means; the longest name wins."""
    name = _letters(model.path.stem)
    fitting = [one for one in ready_names() if _letters(one) in name]
    for one in sorted(fitting, key=len, reverse=True):
        ready = ready_pipeline(one)
        if any(step.op == "resize" for step in ready.pipeline.steps):
            return ready
    return None


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _size_of(ready: ReadyPipeline | None) -> list[int] | None:
    steps = () if ready is None else ready.pipeline.steps
    return next((list(step.fields["size"]) for step in steps if step.op == "resize"), None)


def _called(model: ModelFacts, tensor: TensorFacts) -> str:
    return model.input_name(tensor) or bare_name(tensor.name)


def _without_head(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in pipeline.items() if name not in ("schema", "name")}


def _carried(model: ModelFacts, files: NamedFiles) -> dict[str, bytes]:
    """The files in the ZIP archive at the end of the model's file that the metadata refers to."""
    wanted = {*files.vocabularies, *files.labels}
    if not wanted or not zipfile.is_zipfile(model.path):
        return {}
    try:
        with zipfile.ZipFile(model.path) as archive:
            members = [
                one for one in archive.infolist() if one.filename in wanted and one.file_size <= _MOST_FILE_BYTES
            ]
            return {one.filename: archive.read(one) for one in members}
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError):
        return {}


def _lines(content: bytes) -> tuple[str, ...]:
    return tuple(content.decode("utf-8", errors="replace").splitlines())
