"""The shapes that the inputs of a model have when samples reach them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.pipeline.inputs import InputSpec, bare_name

# Shapes, the batch first, by input name.
Shapes = Mapping[str, Sequence[int]]


def given_shapes(specs: Sequence[InputSpec], given: Shapes) -> dict[str, tuple[int, ...]]:
    """The shapes that a plan gives for open dimensions, by the names of `specs`.

    Args:
        given: shapes with the batch, by tensor name, signature name, or the name that the author gave.

    Raises InvalidInput for a name that is not an input, and for a shape that the input does not take.
    """
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in given.items():
        spec = _named(specs, name)
        if spec is None:
            known = ", ".join(one.alias or bare_name(one.name) for one in specs)
            raise InvalidInput(f"input_shapes names {name!r}, which is not an input", hint=f"the inputs are {known}")
        fits = len(shape) == len(spec.shape) and all(b in (-1, a) for a, b in zip(shape, spec.shape, strict=True))
        if not fits:
            takes = [size if size >= 0 else "any" for size in spec.shape]
            raise InvalidInput(f"input_shapes gives {name!r} the shape {list(shape)}; the input takes {takes}")
        found[spec.name] = tuple(shape)
    return found


def _named(specs: Sequence[InputSpec], name: str) -> InputSpec | None:
    exact = [one for one in specs if name in (one.name, one.alias)]
    bare = [one for one in specs if bare_name(name) == bare_name(one.name)]
    return next(iter(exact or bare), None)


def with_shapes(specs: Sequence[InputSpec], given: Shapes) -> list[InputSpec]:
    """The specs with the shapes of `given` in place of their own. Raises as `given_shapes`."""
    planned = given_shapes(specs, given)
    return [dataclasses.replace(spec, shape=planned.get(spec.name, spec.shape)) for spec in specs]


def shapes_fed(
    specs: Sequence[InputSpec], given: Shapes, sample: Mapping[str, NDArray[Any]] | None
) -> dict[str, tuple[int, ...]]:
    """The shapes in which samples reach the model, by the names of `specs`; empty where one is not known.

    A shape that the model fixes is its own; an open one comes from `given` (see `given_shapes`), else from `sample`
    (what the inputs are fed), else it is not known. An open batch alone is 1.
    """
    planned = given_shapes(specs, given)
    found: dict[str, tuple[int, ...]] = {}
    for spec in specs:
        shape = planned.get(spec.name)
        if shape is None and sample is not None:
            shape = tuple(int(size) for size in sample[spec.name].shape)
        if shape is None:
            shape = (1, *spec.shape[1:]) if len(spec.shape) > 1 and spec.shape[0] < 0 else spec.shape
        if any(size < 0 for size in shape):
            return {}
        found[spec.name] = shape
    return found
