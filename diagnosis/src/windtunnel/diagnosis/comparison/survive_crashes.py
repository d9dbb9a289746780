"""Comparing where native code may end the process, and finding the op that did.

Some kernels abort instead of refusing: the reference softmax on int8 with 512 logits or more, for one. The parent
sees that the child died and not why; prefixes of the model, each run in a child of its own, show the op.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from windtunnel.accelerators import BUILTIN, XNNPACK, runtime_accelerator
from windtunnel.diagnosis.comparison.compare_models import compare_models
from windtunnel.diagnosis.feeding.paired_inputs import feed, translate
from windtunnel.diagnosis.findings.comparison import Comparison
from windtunnel.errors import JobFailed, WindtunnelError
from windtunnel.isolation import Pool, Progress
from windtunnel.tflite import Accelerator, ModelFacts, Runner, read_model
from windtunnel.tflite.edit import Editor

_LIMIT_S = 120.0
_OTHERS: Final[tuple[Accelerator, ...]] = (BUILTIN, XNNPACK)
# Reference, candidate, samples, pipeline: what `compare_models` takes.
Given = tuple[Path, Path, Path | None, Mapping[str, Any] | None]


async def compare_safely(
    pool: Pool,
    given: Given,
    *,
    accelerator: str = XNNPACK,
    on_progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Comparison:
    """Runs `compare_models` in a child, and once more without trying changes if that ended the process.

    Args:
        pool: of children.
        given: reference, candidate, samples and pipeline.
        accelerator: of both models.
        on_progress: called with the progress.
        **options: as `compare_models` takes them.

    Returns:
        The comparison.

    Raises:
        JobFailed: a model itself ends the process; the message names the op.
    """
    options["accelerator"] = accelerator
    try:
        return await pool.run(compare_models, *given, on_progress=on_progress, **options)
    except JobFailed as error:
        if error.how != "signal":
            raise
        explained = await explain_crash(pool, given, runtime_accelerator(accelerator), error)
        if explained is not error:
            raise explained from error
    return await pool.run(compare_models, *given, on_progress=on_progress, try_fixes=False, **options)


async def explain_crash(
    pool: Pool,
    given: Given,
    accelerator: Accelerator,
    error: JobFailed,
) -> JobFailed:
    """Finds the model and the op that ended a comparison by a signal.

    Runs prefixes of a model on the first sample, at most ceil(log2 ops) + 3.

    Args:
        pool: of children.
        given: reference, candidate, samples and pipeline.
        accelerator: of both models.
        error: of the comparison.

    Returns:
        An error that names them; `error` itself if no prefix ends its process.
    """
    for own in (False, True):
        facts = read_model(given[0] if own else given[1])
        low, high = 0, len(facts.ops)
        if not high or not await _dies(pool, own, high, given, accelerator):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            died = await _dies(pool, own, middle, given, accelerator)
            low, high = (low, middle) if died else (middle, high)
        others = [name for name in _OTHERS if name != accelerator]
        runs = [name for name in others if not await _dies(pool, own, high, given, name)]
        return _named(facts, high - 1, accelerator, error, runs)
    return error


async def _dies(pool: Pool, own: bool, ops: int, given: Given, accelerator: Accelerator) -> bool:
    try:
        await pool.run(run_prefix, own, ops, *given, accelerator, timeout_s=_LIMIT_S)
    except JobFailed as error:
        return error.how == "signal"
    except WindtunnelError:
        # A prefix that cannot be cut or run says nothing.
        return False
    return False


def run_prefix(
    own: bool,
    ops: int,
    reference: Path,
    candidate: Path,
    samples: Path | None,
    pipeline: Mapping[str, Any] | None,
    accelerator: Accelerator,
) -> None:
    """Runs the first ops of a model once. A job of `ChildPool`.

    Args:
        own: of the reference; False: of the candidate.
        ops: how many.
        reference: the .tflite file.
        candidate: the .tflite file.
        samples: as `compare_models` takes them.
        pipeline: as `compare_models` takes it.
        accelerator: of the model.
    """
    reference_facts, candidate_facts = read_model(reference), read_model(candidate)
    sample = next(iter(feed(samples, pipeline, reference_facts, candidate_facts)))
    with tempfile.TemporaryDirectory(prefix="windtunnel-prefix-") as folder:
        editor = Editor(reference if own else candidate)
        editor.cut(editor.facts.main.input_indices, _ends(editor.facts, ops))
        path = editor.write(Path(folder, "prefix.tflite"))
        runner = Runner(path, accelerator=accelerator)
        inputs = sample if own else translate(sample, reference_facts, candidate_facts)
        names = {tensor.name for tensor in runner.facts.inputs}
        runner.run({name: values for name, values in inputs.items() if name in names})


def _ends(facts: ModelFacts, ops: int) -> Sequence[int]:
    """What the first ops compute and none of them reads."""
    first = facts.ops[:ops]
    read = {index for op in first for index in op.inputs}
    return [index for op in first for index in op.outputs if index >= 0 and index not in read]


def _named(
    facts: ModelFacts, op: int, accelerator: Accelerator, error: JobFailed, others: Sequence[Accelerator]
) -> JobFailed:
    """The error with the op; `others` are accelerators that run it."""
    found = facts.ops[op]
    title = f"{found.name} {facts.tensors[found.outputs[0]].name!r} (op {op})" if found.outputs else f"{found.name}"
    hint = "no kernels of the runtime can run this op: keep it in float, or convert the model again"
    if others:
        hint = f"they cannot run this op: compare with accelerator {' or '.join(others)}"
    return JobFailed(
        f"the kernels of accelerator {accelerator!r} end the process at {title} of {facts.path.name}",
        how=error.how,
        stderr=error.stderr,
        hint=hint,
    )
