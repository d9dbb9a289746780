"""The use case: convert a trained model and check the conversion."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from windtunnel.artifacts.stores.port import sha256_of
from windtunnel.converter.domain.conversion import Converted, Exported, Format, Source
from windtunnel.converter.formats.detect_format import open_source
from windtunnel.converter.use_cases import check_conversion as check_job
from windtunnel.errors import InvalidInput
from windtunnel.isolation import Pool, Progress
from windtunnel.pipeline import Shapes
from windtunnel.task_names import TaskSpec
from windtunnel.tflite import read_model, require_values

_PACKAGES = ("windtunnel-converter", "tensorflow-cpu", "keras", "ai-edge-litert")


class Export(Protocol):
    """The job of a child process that converts a model with the framework that trained it."""

    def __call__(
        self, source: Source, target: Path, samples: Path | None, pipeline: Mapping[str, Any] | None, shapes: Shapes
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
            InvalidInput: the model cannot be loaded or converted, or the samples do not fit it.
            Unsupported: the model has an op that TFLite does not have.
        """
        ...


async def convert(
    export: Export,
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
    task: TaskSpec | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Converted:
    """Converts the model at `path` (a file, folder or archive) to float32 TFLite below `workdir`.

    A .tflite is taken as it is. The check's verdict is part of the result, never an error: whether a model that the
    conversion changed fails is decided by the run.

    Args:
        export: converts in a child process.
        path: the trained model.
        workdir: private to this call.
        pool: runs the child processes.
        declared: the format that the user names; None: it is detected.
        inputs: input tensors of a graph that does not name them, for example `"x:0"`.
        outputs: output tensors, as `inputs`.
        samples: samples for the check; None: seeded random inputs.
        pipeline: preprocessing of the samples.
        shapes: shapes that the plan gives for dynamic dimensions, by input name.
        allow_code: load models that carry Python code.
        select_tf_ops: keep ops that only TensorFlow has.
        task: that the plan names; None: the samples say.
        on_progress: called with the share of the work that is done.

    Returns:
        The converted model, its facts, and the check's result.

    Raises:
        NotFound: there is no model at `path`.
        InvalidInput: the model or the samples cannot be used; the message says what is at fault.
        Unsupported: the model has an op that TFLite does not have.
        JobFailed: a child process died.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    # A child opens the stranger's file, and it has a folder of its own.
    source = await pool.run(
        open_source, path.absolute(), declared, workdir.absolute(), inputs, outputs, allow_code, select_tf_ops
    )
    given = samples, pipeline, shapes
    if source.format is Format.TFLITE:
        exported = Exported(source.path, {}, 0.0)
    else:
        target = workdir.absolute() / "model.tflite"
        exported = await pool.run(export, source, target, *given, on_progress=on_progress)
    facts = await asyncio.to_thread(read_model, exported.model)
    _require_float(facts.inputs, exported.model)
    require_values(facts)
    flex = sorted({op.name for op in facts.ops if op.is_custom and op.name.startswith("Flex")})
    if select_tf_ops and flex:
        result = check_job.not_run(flex, synthetic=samples is None)
    else:
        made = exported.model, exported.outputs
        result = await pool.run(check_job.check, *made, *given, exported.norm, task, on_progress=on_progress)
    result = replace(result, findings=(*exported.findings, *result.findings))
    return Converted(exported.model, facts, result, tool_versions(), exported.seconds)


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
    """SHA-256 of a file, or of a folder: over the sorted relative paths and their contents' hashes.

    Args:
        path: of it.

    Returns:
        Hexadecimal digits.
    """
    if path.is_file():
        return sha256_of(path)
    digest = hashlib.sha256()
    for file_path in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file_path.relative_to(path).as_posix()}\0{tree_sha256(file_path)}\n".encode())
    return digest.hexdigest()
