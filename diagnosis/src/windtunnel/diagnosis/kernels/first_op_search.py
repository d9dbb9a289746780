"""Finding the first op with which something goes wrong, in few tries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from windtunnel.diagnosis.kernels.single_op_models import prefix
from windtunnel.errors import InvalidInput
from windtunnel.tflite import ModelFacts, layer_tensors, read_model

Inputs = Mapping[str, NDArray[Any]]
Outputs = Mapping[str, NDArray[Any]]
Run = Callable[[Path, Inputs], Awaitable[Outputs]]
Agree = Callable[[Outputs, Outputs], bool]


@dataclass(frozen=True, slots=True)
class Found:
    """The op that a bisect found.

    `builds` counts the models that were cut, `runs` those that ran on the accelerator for at least one sample, the
    whole model included. `op_index` is None if the whole model agrees. `problem` is empty if the cut models confirm
    the place: what op `op_index` reads agrees, and what it writes does not. Otherwise it says what cutting changed.
    """

    op_index: int | None
    layer: str | None
    builds: int
    runs: int
    problem: str = ""


async def first_failing(count: int, fails: Callable[[int], Awaitable[bool]]) -> int:
    """The first of 0 .. count-1 that fails, given that the last one does, and that all after the first do.

    Args:
        count: how many there are.
        fails: asked at most ceil(log2 count) times.

    Returns:
        Its number.
    """
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        if await fails(middle):
            high = middle
        else:
            low = middle + 1
    return low


async def bisect(
    model: Path, run: Run, reference: Run, samples: Sequence[Inputs], agree: Agree, *, workdir: Path
) -> Found:
    """Finds the op at which an accelerator diverges, if only a model's outputs can be read.

    Cuts the model after an op, so that everything that is still needed of it becomes an output. At most ceil(log2 n) +
    1 models are built; n is the number of ops whose result depends on the input. The last model has the op between two
    cuts: it must diverge where the op writes and agree where it reads.

    Args:
        model: the .tflite file.
        run: runs a model on the accelerator: (path, inputs by tensor name) to outputs by tensor name.
        reference: the same on kernels that are trusted.
        samples: inputs by tensor name; a model diverges if one of them does.
        agree: (reference outputs, accelerator outputs) to whether rounding explains the difference; it must hold for
            any prefix of the model. `agree_within` makes one.
        workdir: where the cut models are written.

    Returns:
        The op, and whether the cut models confirm it.

    Raises:
        InvalidInput: there are no samples.
    """
    if not samples:
        raise InvalidInput("a bisect needs samples", hint="give at least one")
    search = _Bisect(model, run, reference, samples, agree, workdir)
    return await search.find()


class _Bisect:
    def __init__(
        self, model: Path, run: Run, reference: Run, samples: Sequence[Inputs], agree: Agree, workdir: Path
    ) -> None:
        self._model, self._run, self._reference = model, run, reference
        self._samples, self._agree, self._workdir = samples, agree, workdir
        self._facts: ModelFacts = read_model(model)
        self._ops = list(dict.fromkeys(op for op, _ in layer_tensors(self._facts)))
        self._builds = self._runs = 0

    async def find(self) -> Found:
        if not self._ops:
            raise InvalidInput(f"{self._model.name} has no op whose result depends on its input")
        if not await self._diverges(self._model):
            return Found(None, None, self._builds, self._runs)
        number = await first_failing(len(self._ops), self._prefix_diverges)
        op = self._ops[number]
        problem = await self._check(op)
        name = next(tensor.name for index, tensor in layer_tensors(self._facts) if index == op)
        return Found(op, name, self._builds, self._runs, problem)

    async def _prefix_diverges(self, number: int) -> bool:
        return await self._diverges(await self._build(self._ops[number], also_before=False))

    async def _check(self, op: int) -> str:
        """Whether the op, between two cuts, still diverges, and what it reads still agrees."""
        path = await self._build(op, also_before=True)
        written = self._names(self._facts.ops[op].outputs)
        before, after = True, False
        for first, second in await self._both(path):
            split = [
                self._agree(
                    {name: first[name] for name in first if (name in written) == side},
                    {name: second[name] for name in second if (name in written) == side},
                )
                for side in (False, True)
            ]
            before, after = before and split[0], after or not split[1]
        if after and before:
            return ""
        what = "what it reads diverges too" if after else "it agrees"
        return f"cutting changed the result: op {op} diverges in one cut of the model, but between two cuts {what}"

    def _names(self, tensors: Sequence[int]) -> set[str]:
        return {self._facts.tensors[index].name for index in tensors if index >= 0}

    async def _build(self, op: int, *, also_before: bool) -> Path:
        self._builds += 1
        path = self._workdir / f"cut-{self._builds:02}-{op}.tflite"
        await asyncio.to_thread(prefix, self._model, path, op, also_before=also_before)
        return path

    async def _diverges(self, path: Path) -> bool:
        return any(not self._agree(first, second) for first, second in await self._both(path))

    async def _both(self, path: Path) -> list[tuple[Outputs, Outputs]]:
        self._runs += 1
        taken = {tensor.name for tensor in read_model(path).inputs}
        found = []
        for sample in self._samples:
            inputs = {name: values for name, values in sample.items() if name in taken}
            first, second = await self._reference(path, inputs), await self._run(path, inputs)
            if first.keys() != second.keys():
                raise InvalidInput(
                    f"the accelerator returns the outputs {sorted(second)} of {path.name}, but it has {sorted(first)}"
                )
            found.append((first, second))
        return found
