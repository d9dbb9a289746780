"""Inputs and outputs of the variants in a report, as text; variants with the same ones share a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from windtunnel.cli.report.formatting import UNKNOWN, clean, entries, named, shorten


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs, one text per tensor, and the variants that have them."""

    variants: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def signatures(variants: Sequence[Mapping[str, Any]]) -> list[Signature]:
    """The signatures of all variants whose tensors are known.

    Args:
        variants: of a report.

    Returns:
        In the order of the variants; those with the same tensors share one.
    """
    found: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for variant in variants:
        sides = _texts(variant, "inputs"), _texts(variant, "outputs")
        if any(sides):
            found.setdefault(sides, []).append(named(variant.get("name")))
    return [Signature(tuple(names), *sides) for sides, names in found.items()]


def _texts(variant: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(map(tensor_text, entries(variant, key)))


def tensor_text(tensor: Mapping[str, Any]) -> str:
    """A tensor in words, for example: image, int8 [1, 32, 32, 1], scale 0.00392157, zero point -128.

    Args:
        tensor: of a report; a size of -1 is unknown.

    Returns:
        One line.
    """
    shape = ", ".join("?" if size == -1 else str(size) for size in entries(tensor, "shape"))
    text = f"{shorten(clean(tensor.get('name')), 60)}, {named(tensor.get('dtype'))} [{shape}]"
    scale, zero_point = tensor.get("scale"), tensor.get("zero_point")
    if isinstance(scale, list):
        return f"{text}, {len(scale)} scales, one per channel"
    if scale is None:
        return text
    return f"{text}, scale {scale:.6g}, zero point {UNKNOWN if zero_point is None else zero_point}"
