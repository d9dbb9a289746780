"""Kernels and accelerators with a fault that is put into them: they run a changed copy of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from windtunnel.diagnosis.kernels.kernel_jobs import Order
from windtunnel.isolation import Pool
from windtunnel.tflite.edit import Editor

Change = Callable[[Editor], None]


def rectify(layer: str) -> Change:
    """A kernel that cuts off what is negative in the result of one op."""

    def change(editor: Editor) -> None:
        for op in editor.facts.ops:
            if editor.facts.tensors[op.outputs[0]].name == layer:
                editor.set_options(op.index, fused_activation_function="RELU")

    return change


def scale_constant(name: str, factor: float) -> Change:
    """A kernel that reads one constant wrong."""

    def change(editor: Editor) -> None:
        for tensor in editor.facts.tensors:
            if tensor.name == name and tensor.is_constant:
                editor.set_constant(tensor.index, editor.facts.constant(tensor) * factor)

    return change


def changed(path: Path, change: Change) -> Path:
    """A copy of the model next to it, with the change."""
    editor = Editor(path)
    change(editor)
    return editor.write(path.with_name(f"wrong-{path.name}"))


@dataclass
class WrongPool:
    """A pool in which one accelerator has a fault, in every model, or in whole models only."""

    pool: Pool
    kernel: str
    change: Change
    only_whole: bool = False

    async def run(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], Order) and args[0].kernel.name == self.kernel:
            args = (self._wrong(args[0]), *args[1:])
        return await self.pool.run(function, *args, **kwargs)

    def _wrong(self, order: Order) -> Order:
        is_whole = all(here == there for here, there in order.model.inputs) and "-ops" not in str(order.model.path)
        if self.only_whole and not is_whole:
            return order
        return replace(order, model=replace(order.model, path=changed(order.model.path, self.change)))
