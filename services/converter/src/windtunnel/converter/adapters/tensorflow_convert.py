"""Conversion with TensorFlow's TFLiteConverter, and running the original. A job for a child process."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from windtunnel import isolation
from windtunnel.converter.adapters.first_norm import first_norm
from windtunnel.converter.adapters.load_original import load
from windtunnel.converter.adapters.missing_ops import lacking_ops
from windtunnel.converter.adapters.original_model import Original, as_dtype, reason
from windtunnel.converter.domain.conversion import Exported, Source
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.pipeline import Feed, InputSpec, Shapes, sample_inputs
from windtunnel.pipeline.feed import SyntheticFeed

BATCH = 32


def convert(
    source: Source, target: Path, samples: Path | None, pipeline: Mapping[str, Any] | None, shapes: Shapes
) -> Exported:
    """Writes a model as float32 TFLite, and its outputs on the samples next to it.

    Args:
        source: the model.
        target: the new .tflite file.
        samples: .npz or folder of samples; None: seeded random inputs.
        pipeline: content of a pipeline.json; None: samples as they are.
        shapes: of inputs with dynamic dimensions.

    Returns:
        What was written, and what is known of the model.

    Raises:
        InvalidInput: the model cannot be loaded or converted, or the samples do not fit.
        Unsupported: the model has an op that TFLite lacks.
    """
    tf.get_logger().setLevel("ERROR")
    isolation.progress(0.1, "loading the model")
    original = load(source)
    isolation.progress(0.3, "converting")
    started = time.perf_counter()
    content = _to_tflite(original, source)
    seconds = time.perf_counter() - started
    target.write_bytes(content)
    isolation.progress(0.7, "running the original on the samples")
    inputs = _feed(original, samples, pipeline, shapes)
    outputs = _run_original(original, inputs, target.parent)
    norm = None
    if samples is not None and inputs.labels is None:
        # Without labels, only the training's own statistics show whether the samples are prepared as it did.
        norm = first_norm(original.function, target.parent / "first-norm.tflite")
    return Exported(target, outputs, seconds, original.findings, norm)


def _to_tflite(original: Original, source: Source) -> bytes:
    try:
        holder = tf.Module()
        # Saved under its signature, the function keeps the names of its inputs and outputs.
        holder.function = original.function
        converter = tf.lite.TFLiteConverter.from_concrete_functions([original.function], holder)
        if source.select_tf_ops:
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        content: bytes = converter.convert()
        return content
    except Exception as error:
        lacking = lacking_ops(error, source, original.function)
        if lacking is not None:
            raise lacking from error
        raise InvalidInput(f"{source.name} cannot be converted: {reason(error)}", code="conversion_failed") from error


def _feed(original: Original, samples: Path | None, pipeline: Mapping[str, Any] | None, shapes: Shapes) -> Feed:
    specs = [InputSpec(port.name, port.shape, port.dtype) for port in original.inputs]
    return sample_inputs(samples, pipeline, specs, shapes=shapes)


def _run_original(original: Original, inputs: Feed, folder: Path) -> dict[str, Path]:
    """Runs the original on all samples; (N, ...) float arrays in .npy files, so that memory stays flat."""
    writers: dict[str, np.memmap[Any, Any]] = {}
    paths = {name: folder / f"original-{index}.npy" for index, name in enumerate(original.outputs)}
    done, size = 0, 1
    samples = iter(inputs)
    while group := list(itertools.islice(samples, size)):
        batch = _stack(group, {port.name: port for port in original.inputs})
        results = _run_batch(original, batch, synthetic=isinstance(inputs, SyntheticFeed))
        if not writers:
            # The first sample goes alone: an output whose length is not 1 then has no batch axis.
            whole = {name for name, value in results.items() if value.shape[:1] not in ((), (1,))}
            size = 1 if whole or any(port.shape[:1] != (-1,) for port in original.inputs) else BATCH
        for name, value in results.items():
            if name not in writers:
                shape = (inputs.count, *(value.shape if name in whole else value.shape[1:]))
                writers[name] = open_memmap(paths[name], mode="w+", dtype=value.dtype, shape=shape)
            _keep(name, value, writers[name][done : done + len(group)])
        done += len(group)
        isolation.progress(0.7 + 0.3 * done / inputs.count, f"original: {done} of {inputs.count} samples")
    for writer in writers.values():
        writer.flush()
    (folder / "original.json").write_text(json.dumps({name: path.name for name, path in paths.items()}))
    return paths


def _run_batch(original: Original, batch: Mapping[str, NDArray[Any]], *, synthetic: bool) -> Mapping[str, NDArray[Any]]:
    try:
        results = original.run(batch)
    except Exception as error:
        what, hint = ("random inputs", "give samples that the model takes") if synthetic else ("the samples", "")
        raise InvalidInput(f"the original model fails on {what}: {reason(error)}", hint=hint) from error
    for name, value in results.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise InvalidInput(f"the original model's output {name!r} holds NaN or infinity", code="non_finite")
    return results


def _keep(name: str, value: NDArray[Any], rows: NDArray[Any]) -> None:
    """Writes an output's values for some samples into its `rows`.

    Raises:
        Unsupported: the output has another shape for other samples.
    """
    try:
        rows[...] = value
    except ValueError as error:
        raise Unsupported(
            f"the original model's output {name!r} has another shape for each sample ({list(rows.shape[1:])} for the "
            f"first one, {list(value.shape)} here)",
            hint="give samples for which the output has one shape",
        ) from error


def _stack(group: Sequence[Mapping[str, NDArray[Any]]], ports: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: as_dtype(np.concatenate([sample[name] for sample in group]), port) for name, port in ports.items()}
