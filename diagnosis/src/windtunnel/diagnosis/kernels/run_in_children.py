"""Runs models on accelerators in child processes, and survives what they do there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from windtunnel.diagnosis.kernels.first_op_search import first_failing
from windtunnel.diagnosis.kernels.judge_kernels import Crash
from windtunnel.diagnosis.kernels.kernel_jobs import Order, execute
from windtunnel.diagnosis.kernels.kernel_sets import Kernel
from windtunnel.diagnosis.kernels.single_op_models import Derived, isolate, prefix
from windtunnel.errors import InvalidInput, JobFailed, Unsupported, UserError, WindtunnelError
from windtunnel.isolation import Pool, Progress
from windtunnel.tflite import read_model
from windtunnel.tflite.run import MORE_MEMORY

Files = tuple[Path, ...]
OnProgress = Callable[[Progress], None]


@dataclass
class Runs:
    """What is shared by all runs of one model; results are in `folder`, each run's in one of its own."""

    model: Path
    pool: Pool
    folder: Path
    threads: int
    timeout_s: float
    on_progress: OnProgress | None = None
    _made: int = field(default=0, init=False)

    async def run(self, model: Derived, kernel: Kernel, feeds: Files, *, preserve_all: bool = False) -> Files:
        """Runs a model on files of inputs.

        Args:
            model: the model itself, or one that was derived from it.
            kernel: what runs it.
            feeds: one file for each sample.
            preserve_all: keep every layer.

        Returns:
            The files of its results, one for each sample.

        Raises:
            JobFailed: the run crashed, took too long, or (how="memory") found too little memory.
            InvalidInput: the runtime refuses the model.
        """
        folder = self.new_folder(kernel.name)
        results = tuple(folder / feed.name for feed in feeds)
        order = Order(model, kernel, feeds, results, preserve_all, self.threads, self.timeout_s)
        try:
            await self.pool.run(execute, order, on_progress=self.on_progress)
        except JobFailed as error:
            # Which model and which kernels is what the reader wants to know, not which function of Windtunnel.
            if _lacked_memory(error):
                raise JobFailed(
                    f"not enough memory to run {self.model.name} with {kernel.name}",
                    how="memory",
                    stderr=error.stderr,
                    hint=MORE_MEMORY,
                ) from error
            said = error.message.removeprefix(f"{execute.__module__}:{execute.__name__} ")
            raise JobFailed(
                f"{self.model.name} with {kernel.name} {said}", how=error.how, stderr=error.stderr
            ) from error
        return results

    async def isolated(self, kernel: Kernel, ops: Sequence[int], feeds: Files) -> Files:
        """Runs ops of the model in isolation.

        Args:
            kernel: what runs them.
            ops: their indices.
            feeds: files that have everything that they read.

        Returns:
            The files of the results.
        """
        path = self.new_folder(f"{kernel.name}-ops") / self.model.name
        derived = await asyncio.to_thread(isolate, self.model, path, ops)
        return await self.run(derived, kernel, feeds)

    async def up_to(self, kernel: Kernel, op: int, feeds: Files) -> Files:
        """Runs the model up to an op.

        Args:
            kernel: what runs it.
            op: index of the last op.
            feeds: one file for each sample.

        Returns:
            The files of the results.
        """
        path = self.new_folder(f"{kernel.name}-prefix") / self.model.name
        derived = await asyncio.to_thread(prefix, self.model, path, op)
        return await self.run(derived, kernel, feeds)

    def new_folder(self, name: str) -> Path:
        """Makes a new empty folder.

        Args:
            name: part of its name.

        Returns:
            The folder.
        """
        self._made += 1
        folder = self.folder / f"{self._made:04}-{name.replace(':', '-')}"
        folder.mkdir()
        return folder


def _lacked_memory(error: JobFailed) -> bool:
    """Whether the machine is at fault: Python's error, or the words that native code dies with."""
    said = f"{error.message}\n{error.stderr}"
    return error.how == "memory" or "MemoryError" in said or "std::bad_alloc" in said


@dataclass(frozen=True, slots=True)
class Survived:
    """Results of all ops that ran, the crashes of others, and those that the runtime refuses, by index, and why."""

    files: Files | None
    crashes: tuple[Crash, ...]
    refused: Mapping[int, str]


async def isolated_but_crashes(
    runs: Runs, kernel: Kernel, ops: Sequence[int], feeds: Files, *, most: int = 4
) -> Survived:
    """Runs ops in isolation, without those that end the process or that the runtime refuses.

    Bisecting prefixes of the ops finds such an op. If the runtime refuses one, all of its kind are left out.

    Args:
        runs: of the model.
        kernel: what runs the ops.
        ops: their indices.
        feeds: files that have everything that they read.
        most: after so many crashes it gives up.

    Returns:
        `files` is None if it gave up.

    Raises:
        JobFailed: memory runs out.
    """
    kinds = {op.index: op.name for op in read_model(runs.model).ops}
    crashes: list[Crash] = []
    refused: dict[int, str] = {}
    left = list(ops)
    for _ in range(most + 1):
        if not left:
            break
        error = await _failure(runs.isolated(kernel, left, feeds))
        if isinstance(error, tuple):
            return Survived(error, tuple(crashes), refused)
        op, found = await _find(runs, kernel, left, feeds, error)
        if isinstance(found, Crash):
            crashes.append(found)
            left.remove(op)
        else:
            refused.update({other: found for other in left if kinds[other] == kinds[op]})
            left = [other for other in left if kinds[other] != kinds[op]]
    return Survived(None, tuple(crashes), refused)


async def _find(
    runs: Runs, kernel: Kernel, ops: Sequence[int], feeds: Files, error: UserError
) -> tuple[int, Crash | str]:
    """The first of some ops that fails on its own, and how: a crash, or the words of the runtime that refuses it."""
    tries = 0

    async def fails(last: int) -> bool:
        nonlocal tries
        tries += 1
        return not isinstance(await _failure(runs.isolated(kernel, ops[: last + 1], feeds)), tuple)

    op = ops[await first_failing(len(ops), fails)]
    alone = await _failure(runs.isolated(kernel, [op], feeds))
    said = error if isinstance(alone, tuple) else alone
    if isinstance(said, JobFailed):
        return op, Crash(kernel.name, op, said.how, said.message, tries + 1, not isinstance(alone, tuple))
    return op, said.message


async def find_crash_in_graph(runs: Runs, kernel: Kernel, ops: Sequence[int], feeds: Files, error: JobFailed) -> Crash:
    """The op with which a prefix of the model begins to crash.

    Args:
        runs: of the model.
        kernel: what runs it.
        ops: indices of the ops that may be the one.
        feeds: one file for each sample.
        error: of the whole model.

    Returns:
        Without a place if no prefix crashes.
    """
    tries = 0

    async def fails(last: int) -> bool:
        nonlocal tries
        tries += 1
        return await _crashes(runs.up_to(kernel, ops[last], feeds)) is not None

    try:
        op = ops[await first_failing(len(ops), fails)]
        seen = await _crashes(runs.up_to(kernel, op, feeds))
    except WindtunnelError as problem:
        return Crash(kernel.name, None, error.how, f"{error.message}; prefixes cannot be run: {problem}", tries, False)
    place = op if seen is not None else None
    return Crash(kernel.name, place, error.how, (seen or error).message, tries + 1, seen is not None)


async def _crashes(run: Awaitable[Files]) -> JobFailed | None:
    found = await _failure(run)
    return found if isinstance(found, JobFailed) else None


async def _failure(run: Awaitable[Files]) -> Files | UserError:
    """The results, or the crash or refusal that came instead.

    Raises:
        JobFailed: memory ran out, which is not a kernel's fault.
        InvalidInput: never; it is returned.
        Unsupported: never; it is returned.
    """
    try:
        return await run
    except (JobFailed, InvalidInput, Unsupported) as error:
        if isinstance(error, JobFailed) and error.how == "memory":
            raise
        return error
