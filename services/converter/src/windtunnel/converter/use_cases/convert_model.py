"""The use case: convert a trained model and check the conversion."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from windtunnel.artifacts.stores.port import sha256_of
from windtunnel.converter.domain.conversion import Converted, Exported, Format, Source
from windtunnel.converter.formats.detect_format import open_source
from windtunnel.converter.use_cases import check_conversion as check_job
from windtunnel.errors import InvalidInput
from windtunnel.isolation import Pool, Progress
from windtunnel.pipeline import Shapes
from windtunnel.tflite import read_model, require_values

_PACKAGES = ("windtunnel-converter", "tensorflow-cpu", "keras", "ai-edge-litert")


async def convert(
    path: Path,
    workdir: Path,
    pool: Pool,
    *,
    declared: Format | None = None,
    inputs: tuple[str, ...] = (),
    outputs: tuple[str, ...] = (),
    samples: Path | None = None,
    pipeline: Mapping[str, Any] | None = None,
    shapes: Shapes = MappingProxyType({}),
    allow_code: bool = False,
    select_tf_ops: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Converted:
    """Converts the model at `path` (a file, folder or archive) to float32 TFLite below `workdir`.

    A .tflite is taken as it is. `shapes` are those that the plan gives for open dimensions, by input name. Raises
    NotFound, InvalidInput, Unsupported, JobFailed, each saying what of the model is at fault. The check's verdict is
    part of the result, never an error: whether a changed model fails is the run's affair.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    # A child opens the stranger's file, and it has a folder of its own.
    source = await pool.run(
        open_source, path.absolute(), declared, workdir.absolute(), inputs, outputs, allow_code, select_tf_ops
    )
    if source.format is Format.TFLITE:
        exported = Exported(source.path, {}, 0.0)
    else:
        exported = await pool.run(
            tensorflow_job,
            source,
            workdir.absolute() / "model.tflite",
            samples,
            pipeline,
            shapes,
            on_progress=on_progress,
        )
    facts = await asyncio.to_thread(read_model, exported.model)
    _require_float(facts.inputs, exported.model)
    require_values(facts)
    flex = sorted({op.name for op in facts.ops if op.is_custom and op.name.startswith("Flex")})
    if select_tf_ops and flex:
        result = check_job.not_run(flex, synthetic=samples is None)
    else:
        result = await pool.run(
            check_job.check,
            exported.model,
            exported.outputs,
            samples,
            pipeline,
            shapes,
            exported.norm,
            on_progress=on_progress,
        )
    result = replace(result, findings=(*exported.findings, *result.findings))
    return Converted(exported.model, facts, result, tool_versions(), exported.seconds)


def tensorflow_job(
    source: Source,
    target: Path,
    samples: Path | None,
    pipeline: Mapping[str, Any] | None,
    shapes: Shapes = MappingProxyType({}),
) -> Exported:
    """The job of a child process, which alone loads TensorFlow."""
    from windtunnel.converter.adapters import tensorflow_convert as tensorflow

    return tensorflow.convert(source, target, samples, pipeline, shapes)


def _require_float(inputs: Any, model: Path) -> None:
    strings = [tensor.name for tensor in inputs if tensor.dtype == "string"]
    if strings:
        raise InvalidInput(
            f"{model.name} takes text ({', '.join(strings)}), which phones' runtimes do not",
            hint="tokenize outside the model",
        )


def tool_versions() -> dict[str, str]:
    """Versions of what converts and checks, by package name; TensorFlow is not loaded for it."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def tree_sha256(path: Path) -> str:
    """SHA-256 of a file, or of a folder: over the sorted relative paths and their contents' hashes."""
    if path.is_file():
        return sha256_of(path)
    digest = hashlib.sha256()
    for file_path in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file_path.relative_to(path).as_posix()}\0{tree_sha256(file_path)}\n".encode())
    return digest.hexdigest()
