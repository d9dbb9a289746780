"""The use case: make one variant of a float32 TFLite model."""

from __future__ import annotations

import asyncio
import importlib.metadata
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from windtunnel.diagnosis.quantize.variants import (
    Calibration,
    Made,
    Quantized,
    choose_calibration,
    require_float,
    require_quantized,
)
from windtunnel.isolation import Pool, Progress
from windtunnel.plan import AS_IT_IS, VariantSpec
from windtunnel.tflite import read_model

_PACKAGES = ("windtunnel-quantizer", "litert-quantizer", "ai-edge-litert")


async def quantize(
    model: Path,
    variant: VariantSpec,
    workdir: Path,
    pool: Pool,
    *,
    calibration: Calibration | None = None,
    pipeline: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Quantized:
    """Makes a variant of a model; the variant float32 is the model as it is.

    The ranges of a static quantization are the true minimum and maximum of each tensor over the calibration set.

    Args:
        model: the float32 .tflite file.
        variant: what to make.
        workdir: folder of the new file.
        pool: where native code runs.
        calibration: the calibration set; None: there is none.
        pipeline: content of a pipeline.json, for the calibration samples.
        on_progress: called with the progress.

    Returns:
        The new file, and how it was made.

    Raises:
        InvalidInput: the calibration set is missing or cannot be used, the recipe cannot be used, or the model is
            quantized already.
        JobFailed: the library crashed or took too long.
    """
    started = time.perf_counter()
    if is_float32(variant):
        facts = await asyncio.to_thread(read_model, model)
        require_float(facts, variant)
        return Quantized(model, facts, 0, time.perf_counter() - started)
    chosen, _ = choose_calibration(variant, calibration, None)
    target = workdir.absolute() / f"{variant.name}.tflite"
    target.parent.mkdir(parents=True, exist_ok=True)
    made = await pool.run(_job, model.absolute(), target, variant, chosen, pipeline, on_progress=on_progress)
    # Read here: sending the facts from the child would take longer.
    facts = await asyncio.to_thread(read_model, target)
    require_quantized(facts, variant)
    return Quantized(target, facts, made.samples, time.perf_counter() - started, made.left_float)


def is_float32(variant: VariantSpec) -> bool:
    """Whether a variant is the converted model itself.

    Args:
        variant: of the plan.
    """
    return variant.name == AS_IT_IS and variant.recipe is None


def _job(
    model: Path, target: Path, variant: VariantSpec, calibration: Calibration | None, pipeline: Mapping[str, Any] | None
) -> Made:
    # Imported in the child: this process never loads the quantizer.
    from windtunnel.diagnosis.quantize import litert_quantizer as litert

    return litert.quantize(model, target, variant, calibration, pipeline)


def tool_versions() -> dict[str, str]:
    """Versions of the quantizer's packages, by name."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}
