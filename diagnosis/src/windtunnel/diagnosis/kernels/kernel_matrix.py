"""The use case: one model on several accelerators, each op on the same inputs, to find a kernel's fault."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from windtunnel.accelerators import BUILTIN, REFERENCE, XNNPACK, spelled_in_comparisons
from windtunnel.arm_emulator import missing
from windtunnel.diagnosis.kernels.compare_results import distances_from, pair_distances
from windtunnel.diagnosis.kernels.conclude import Evidence, conclude
from windtunnel.diagnosis.kernels.judge_kernels import Divergence, divergences, in_graph_divergences
from windtunnel.diagnosis.kernels.kernel_jobs import merge, prepare
from windtunnel.diagnosis.kernels.kernel_report import KernelReport, KernelRun
from windtunnel.diagnosis.kernels.kernel_sets import Kernel, parse_kernel
from windtunnel.diagnosis.kernels.rounding_bounds import local_limit
from windtunnel.diagnosis.kernels.run_in_children import (
    Files,
    OnProgress,
    Runs,
    find_crash_in_graph,
    isolated_but_crashes,
)
from windtunnel.diagnosis.kernels.single_op_models import Derived, not_isolable, whole
from windtunnel.errors import InvalidInput, JobFailed
from windtunnel.isolation import Pool
from windtunnel.tflite import ModelFacts, layer_tensors, read_model
from windtunnel.tflite.dtypes import BYTE_DTYPES

BASE: Final = spelled_in_comparisons(BUILTIN)
# Layer values of all samples of one accelerator may take this much of the disk.
_DISK_BYTES: Final = 512_000_000
_TRUST: Final = tuple(map(spelled_in_comparisons, (REFERENCE, BUILTIN, XNNPACK)))


async def compare_kernels(
    model: Path,
    samples: Path | None,
    pipeline: Mapping[str, Any] | None,
    kernels: Sequence[Kernel],
    pool: Pool,
    *,
    max_samples: int = 8,
    threads: int = 1,
    timeout_s: float = 1800.0,
    on_progress: OnProgress | None = None,
) -> KernelReport:
    """Runs a model on several accelerators and compares them op by op.

    If one crashes, the op is searched and named. One that is not installed is named with what to install.

    Args:
        model: a .tflite file.
        samples: as `compare_models` takes them.
        pipeline: as `compare_models` takes it.
        kernels: the accelerators; the runtime's optimized kernels are added if they are missing: every op is fed with
            their values.
        pool: where native code runs.
        max_samples: at most so many samples; fewer where the layers of so many would not fit the disk budget.
        threads: CPU threads of each run.
        timeout_s: limit of one run under emulation.
        on_progress: called for each sample that was run.

    Returns:
        The report.

    Raises:
        InvalidInput: the model or the samples cannot be used.
        Unsupported: the model or the samples cannot be used.
    """
    facts = await asyncio.to_thread(read_model, model)
    if max_samples < 1:
        raise InvalidInput(f"max_samples is {max_samples}", hint="give at least 1")
    with tempfile.TemporaryDirectory(prefix="windtunnel-kernels-") as folder:
        runs = Runs(model, pool, Path(folder), threads, timeout_s, on_progress)
        limit = min(max_samples, _affordable(facts))
        feeds = await pool.run(prepare, model, samples, pipeline, limit, runs.new_folder("feeds"))
        found = await _Matrix(facts, runs, _with_base(kernels), feeds).evidence()
    settings = {"max_samples": max_samples, "threads": threads, "synthetic_samples": samples is None}
    return conclude(facts, found, len(feeds), settings)


def _with_base(kernels: Sequence[Kernel]) -> list[Kernel]:
    return [parse_kernel(BASE), *(kernel for kernel in kernels if kernel.name != BASE)]


def _affordable(facts: ModelFacts) -> int:
    size = 0
    for _, tensor in layer_tensors(facts):
        count = int(np.prod([max(1, length) for length in tensor.shape], dtype=np.float64))
        size += count * (1 if tensor.dtype in BYTE_DTYPES | {"bool"} else 4)
    return max(1, _DISK_BYTES // max(1, size))


@dataclass
class _Matrix:
    facts: ModelFacts
    runs: Runs
    kernels: Sequence[Kernel]
    feeds: Files
    found: Evidence = field(default_factory=Evidence)
    _whole: dict[str, Files] = field(default_factory=dict)

    async def evidence(self) -> Evidence:
        """Runs everything; what fails on the way becomes evidence too."""
        self.found.kept_out.update(not_isolable(self.facts))
        for kernel in self.kernels:
            await self._run_whole(kernel)
        names = [kernel.name for kernel in self.kernels if kernel.name in self._whole]
        if not names and not self.found.crashed:
            raise self._none_runs()
        if not names:
            await self._locate_crashes()
        else:
            # The first one that runs the model without a crash: usually the runtime's optimized kernels.
            self.found.base = names[0]
            self.found.accumulated = await self.runs.pool.run(
                distances_from, names[0], {name: self._whole[name] for name in names}
            )
            await self._compare_ops()
        return self.found

    async def _run_whole(self, kernel: Kernel) -> None:
        lacking = missing() if kernel.cpu is not None else ()
        if lacking:
            what, todo = "; ".join(one.what for one in lacking), "; ".join(one.todo for one in lacking)
            self.found.runs[kernel.name] = KernelRun(kernel.name, "not_available", f"missing: {what}", todo)
            return
        plain = whole(self.facts)
        outputs = tuple((index, index) for index in self.facts.main.output_indices if index not in self._unreadable())
        try:
            bare = await self.runs.run(Derived(plain.path, plain.inputs, outputs), kernel, self.feeds)
            kept = await self.runs.run(plain, kernel, self.feeds, preserve_all=True)
        except JobFailed as error:
            if error.how == "memory":
                self.found.runs[kernel.name] = KernelRun(kernel.name, "not_available", error.message, error.hint)
                return
            self.found.crashed[kernel.name] = error
            self.found.runs[kernel.name] = KernelRun(kernel.name, "crashed", error.message)
        except InvalidInput as error:
            self.found.runs[kernel.name] = KernelRun(kernel.name, "refused", error.message)
        else:
            self._whole[kernel.name] = kept
            self.found.runs[kernel.name] = KernelRun(kernel.name, "ran")
            both = {"bare": bare, "kept": kept}
            self.found.keeping[kernel.name] = await self.runs.pool.run(distances_from, "bare", both)

    def _none_runs(self) -> InvalidInput:
        """The first reason, unless the machine is too small: that is to be fixed first."""
        runs = self.found.runs.values()
        first = next((run for run in runs if "not enough memory" in run.reason), next(iter(runs)))
        reasons = "; ".join(dict.fromkeys([first.reason, *(run.reason for run in runs)]))
        return InvalidInput(f"no accelerator runs {self.facts.path.name}: {reasons}", hint=first.todo)

    def _unreadable(self) -> set[int]:
        readable = {tensor.index for _, tensor in layer_tensors(self.facts)}
        return set(self.facts.main.output_indices) - readable

    async def _compare_ops(self) -> None:
        base = self.found.base
        assert base is not None
        ops = self._ops()
        feeds = await self._fed_by(self._whole[base])
        results: dict[str, Files] = {}
        for kernel in self._by_trust():
            if self.found.runs[kernel.name].status != "not_available":
                await self._isolated(kernel, ops, feeds, results)
        distances = await self.runs.pool.run(pair_distances, results)
        trust = [kernel.name for kernel in self._by_trust()]
        self.found.local = _from(base, distances)
        self.found.divergences.extend(divergences(self.facts, distances, trust))
        await self._in_graph(base, ops, results)
        await self._verify(feeds)

    async def _isolated(self, kernel: Kernel, ops: Sequence[int], feeds: Files, results: dict[str, Files]) -> None:
        try:
            survived = await isolated_but_crashes(self.runs, kernel, ops, feeds)
        except JobFailed as error:
            # All ops at once take more than the model does, which keeps few of its tensors at a time.
            reason = f"its ops were not run alone: {error.message}"
            self.found.runs[kernel.name] = replace(self.found.runs[kernel.name], reason=reason, todo=error.hint)
            return
        self.found.crashes.extend(survived.crashes)
        if survived.files is not None:
            results[kernel.name] = survived.files
        if survived.refused:
            self.found.refused[kernel.name] = survived.refused
        if kernel.name in self.found.crashed and not survived.crashes:
            await self._locate_crash(kernel)

    async def _locate_crashes(self) -> None:
        """Every accelerator crashes, so there are no values to feed ops with: prefixes of the model show the place."""
        for kernel in self.kernels:
            if kernel.name in self.found.crashed:
                await self._locate_crash(kernel)

    async def _locate_crash(self, kernel: Kernel) -> None:
        ops = list(dict.fromkeys(op for op, _ in layer_tensors(self.facts)))
        error = self.found.crashed[kernel.name]
        self.found.crashes.append(await find_crash_in_graph(self.runs, kernel, ops, self.feeds, error))

    async def _in_graph(self, base: str, ops: Sequence[int], results: Mapping[str, Files]) -> None:
        """Every op of a whole run against the base on the same inputs: what a delegate does to several ops at once."""
        local = {(one.kernel, one.op_index) for one in self.found.divergences}
        kernel_of = {kernel.name: kernel for kernel in self.kernels}
        for name, kept in self._whole.items():
            if name == base or base not in results:
                continue
            feeds = await self._fed_by(kept)
            try:
                survived = await isolated_but_crashes(self.runs, kernel_of[base], ops, feeds)
            except JobFailed:
                continue
            if survived.files is None:
                continue
            distances = await self.runs.pool.run(distances_from, base, {base: survived.files, name: kept})
            for one in in_graph_divergences(self.facts, distances, base, name):
                # A base that diverges itself, and what diverges in isolation too, is named already.
                if (name, one.op_index) not in local and (base, one.op_index) not in local:
                    self.found.divergences.append(one)

    async def _verify(self, feeds: Files) -> None:
        """Runs each op that diverges once more, in a model of its own."""
        by_op: dict[int, list[Divergence]] = {}
        for one in self.found.divergences:
            if not one.in_graph:
                by_op.setdefault(one.op_index, []).append(one)
        kernel_of = {kernel.name: kernel for kernel in self.kernels}
        for op, group in by_op.items():
            names = [group[0].agreeing[0], *dict.fromkeys(one.kernel for one in group)]
            results = {name: await self.runs.isolated(kernel_of[name], [op], feeds) for name in names}
            distances = await self.runs.pool.run(distances_from, names[0], results)
            limits = {
                tensor.index: local_limit(self.facts, self.facts.ops[op], tensor)
                for index, tensor in layer_tensors(self.facts)
                if index == op
            }
            back = {key[2] for key, distance in distances.items() if not distance.within(limits[key[0]])}
            self.found.verified[op] = back == set(names[1:])

    async def _fed_by(self, kept: Files) -> Files:
        folder = self.runs.new_folder("fed")
        return tuple(
            [
                await asyncio.to_thread(merge, [feed, values], folder / feed.name)
                for feed, values in zip(self.feeds, kept, strict=True)
            ]
        )

    def _ops(self) -> list[int]:
        ops = dict.fromkeys(op for op, _ in layer_tensors(self.facts))
        return [op for op in ops if op not in self.found.kept_out]

    def _by_trust(self) -> list[Kernel]:
        order = {name: place for place, name in enumerate(_TRUST)}
        return sorted(self.kernels, key=lambda kernel: order.get(kernel.name, len(order)))


def _from(base: str, distances: Mapping[tuple[int, str, str], Any]) -> dict[tuple[int, str, str], Any]:
    """Distances of pairs that hold the base, keyed (tensor, base, other)."""
    found = {}
    for (tensor, first, second), distance in distances.items():
        if first == base:
            found[tensor, base, second] = distance
        elif second == base:
            found[tensor, base, first] = distance.turned()
    return found
