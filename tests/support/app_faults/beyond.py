"""Faults beyond the preprocessing: wrong kernels and wrong labels, the same for apps of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.app_faults import kernels
from support.app_faults.case import Planted
from support.app_faults.runs import Ran, run

Array = NDArray[Any]
LABELS = ("labels_shifted", "labels_permuted", "labels_wrapped")
# A kernel's fault may be `recorded`: the app recorded its layers.
KERNELS = tuple(f"kernel_{kind}{how}" for kind in kernels.KINDS for how in ("", "_recorded"))
_TRIES = 6
# A wrong kernel is drawn again if it changes outputs by less, in units of their range.
_CHANGED = 0.05


def ran(
    path: Path, fed: Sequence[Array], kernel: str | None, folder: Path, rng: np.random.Generator, *, plain: bool
) -> tuple[Ran, list[Planted]]:
    """Runs the model as the app does, with a wrong kernel if one is planted.

    Args:
        path: the model.
        fed: its inputs.
        kernel: of KERNELS; None: the right ones.
        folder: for a changed copy of the model.
        rng: chooses the op.
        plain: right kernels are the reference kernels.

    Returns:
        What came out, and the fault with its place (one without an effect, if none was found that has one).

    Raises:
        ValueError: the model has no op for this fault.
    """
    recorded = kernel is not None and kernel.endswith("_recorded")
    right = run(path, fed, layers=recorded, plain_kernels=plain and kernel is None)
    if kernel is None:
        return right, []
    kind = kernel.removeprefix("kernel_").removesuffix("_recorded")
    folder.mkdir(parents=True, exist_ok=True)
    changed = folder / "changed.tflite"
    for _ in range(_TRIES):
        op = kernels.wrong_kernel(path, changed, kind, rng)
        if op is None:
            raise ValueError(f"{path} has no op for {kernel}")
        found = run(changed, fed, layers=recorded)
        changed.unlink()
        if _relative(right, found) > _CHANGED:
            place = (op.layer, op.op_index) if recorded else (None, None)
            return found, [Planted("kernel", kernel, layer=place[0], op_index=place[1])]
    return right, [Planted("kernel", kernel, effect=0.0)]


def _relative(right: Ran, found: Ran) -> float:
    """The largest difference of an output in units of its range."""
    ratios = [0.0]
    for name, values in right.outputs.items():
        one, other = values.astype(np.float64), found.outputs[name].astype(np.float64)
        ratios.append(float(np.sqrt(np.mean((one - other) ** 2)) / max(np.ptp(one), 1e-12)))
    return max(ratios)


def wrong_labels(fault: str | None, labels: Array, classes: int, rng: np.random.Generator) -> Array:
    """Labels as an app has them.

    Args:
        fault: of LABELS; None: the right ones.
        labels: the right ones.
        classes: how many there are.
        rng: draws a permutation.

    Returns:
        As many labels.
    """
    if fault == "labels_shifted":
        return labels + 1
    if fault == "labels_wrapped":
        return np.asarray((labels + int(rng.integers(1, classes))) % classes)
    if fault == "labels_permuted":
        order = rng.permutation(classes)
        while (order == np.arange(classes)).sum() > classes // 4:
            order = rng.permutation(classes)
        return np.asarray(order[labels])
    return labels
