"""Small classifiers of waveforms and of texts, with raw samples, their pipelines, and labels by other libraries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
from ai_edge_litert import schema_py_generated as schema

from support.graphs import GraphWriter

RATE, MODEL_RATE, FRAME, HOP = 22_050, 16_000, 256, 128
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "very", "movie", "##s", "!", "not", "a"]
CLASSES, LENGTH = 4, 8
_SPOKEN = ["Good", "bad!", "very", "MOVIE", "movies", "not", "a", "what", "!"]


@dataclass(frozen=True)
class RawModel:
    """A .tflite with two versions, raw samples with labels, and the pipeline from one to the other.

    `broken` has other weights in its last layer.
    """

    model: Path
    broken: Path
    samples: Path
    pipeline: Path


def audio_model(folder: Path) -> RawModel:
    """Classifies log spectra (1, frames, bins, 1) of waveforms of another sample rate."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(3)
    waves = draw.normal(0, 0.2, (24, 4000)).astype(np.float32)
    spectra = _spectra(waves)
    weights = draw.normal(size=(CLASSES, spectra[0].size)).astype(np.float32)
    labels = ((spectra.reshape(len(waves), -1) - spectra.mean()) @ weights.T).argmax(1)
    np.savez(folder / "waves.npz", x=waves, y=labels, sample_rate=RATE)
    steps = [
        {"op": "resample", "to": MODEL_RATE},
        {"op": "frame", "length": FRAME, "step": HOP},
        {"op": "window", "kind": "hann", "periodic": True},
        {"op": "spectrogram", "power": 2},
        {"op": "log", "kind": "ln", "floor": 1e-6},
        {"op": "normalize", "offset": -float(spectra.mean())},
    ]
    (folder / "audio.json").write_text(json.dumps({"schema": "windtunnel.pipeline/1", "task": "audio", "steps": steps}))
    models = [_classifier(folder / name, spectra.shape[1:], made) for name, made in _versions("audio", weights)]
    return RawModel(models[0], models[1], folder / "waves.npz", folder / "audio.json")


def _spectra(waves: Any) -> Any:
    """By SciPy alone, what the model is made for."""
    resampled = scipy.signal.resample_poly(waves.astype(np.float64), MODEL_RATE, RATE, axis=1)
    transform = scipy.signal.ShortTimeFFT(
        scipy.signal.get_window("hann", FRAME), HOP, MODEL_RATE, phase_shift=None, scale_to=None
    )
    frames = 1 + (resampled.shape[1] - FRAME) // HOP
    # Its slices are centered; the first whole one begins with the waveform.
    first = FRAME // 2 // HOP
    spectra = np.abs(transform.stft(resampled, p0=first, p1=first + frames)) ** 2
    return np.log(np.maximum(spectra, 1e-6)).transpose(0, 2, 1)


def _versions(name: str, weights: Any) -> list[tuple[str, Any]]:
    return [(f"{name}.tflite", weights), (f"{name}-broken.tflite", np.roll(weights, 1, axis=0))]


def _classifier(path: Path, shape: tuple[int, ...], weights: Any) -> Path:
    writer = GraphWriter()
    source = writer.tensor("spectra", (1, *shape, 1))
    flat = writer.tensor("flat", (1, weights.shape[1]))
    form = writer.tensor("form", (2,), "int32", data=np.array([1, weights.shape[1]]))
    writer.op("RESHAPE", [source, form], [flat], schema.ReshapeOptionsT())
    logits = writer.dense("logits", flat, weights, np.zeros(len(weights), np.float32))
    return writer.write(path, [source], [logits])


def text_model(folder: Path) -> RawModel:
    """Classifies ids of tokens; a second input says which of them are tokens."""
    (folder / "words").mkdir(parents=True, exist_ok=True)
    (folder / "words/vocab.txt").write_text("\n".join(WORDS) + "\n")
    draw = np.random.default_rng(5)
    texts = [" ".join(draw.choice(_SPOKEN, draw.integers(0, 9))) for _ in range(40)]
    ids = np.array([_ids(text) for text in texts])
    weights = draw.normal(size=(CLASSES, LENGTH)).astype(np.float32)
    # Whatever the length: the sum of a text's ids says nothing.
    weights -= (weights @ ids.T).mean(1)[:, None] / ids.sum(1).mean()
    labels = (ids @ weights.T).argmax(1)
    np.savez(folder / "texts.npz", x=np.array(texts), y=labels)
    tokens = [
        {"op": "lowercase"},
        {
            "op": "tokenize",
            "kind": "wordpiece",
            "vocabulary": "words/vocab.txt",
            "prefix": "[CLS]",
            "suffix": "[SEP]",
        },
    ]
    pad = {"op": "pad", "length": LENGTH}
    inputs = {"ids": {"steps": [*tokens, pad]}, "mask": {"steps": [*tokens, {"op": "mask"}, pad]}}
    (folder / "text.json").write_text(json.dumps({"schema": "windtunnel.pipeline/1", "task": "text", "inputs": inputs}))
    models = [_text_classifier(folder / name, made) for name, made in _versions("text", weights)]
    return RawModel(models[0], models[1], folder / "texts.npz", folder / "text.json")


def _ids(text: str) -> list[int]:
    """By hand: the only word in pieces is `movies`."""
    words = text.lower().replace("!", " !").replace("movies", "movie ##s").split()
    ids = [WORDS.index(word) if word in WORDS else 1 for word in ["[CLS]", *words, "[SEP]"]]
    return (ids + [0] * LENGTH)[:LENGTH]


def _text_classifier(path: Path, weights: Any) -> Path:
    writer = GraphWriter()
    sources = [writer.tensor(name, (1, LENGTH), "int32") for name in ("ids", "mask")]
    used = writer.tensor("used", (1, LENGTH), "int32")
    writer.op("MUL", sources, [used], schema.MulOptionsT())
    real = writer.tensor("real", (1, LENGTH))
    options = schema.CastOptionsT()
    options.inDataType, options.outDataType = schema.TensorType.INT32, schema.TensorType.FLOAT32
    writer.op("CAST", [used], [real], options)
    logits = writer.dense("logits", real, weights, np.zeros(len(weights), np.float32))
    return writer.write(path, sources, [logits])
