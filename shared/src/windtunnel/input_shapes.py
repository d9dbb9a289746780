"""Shapes of a model's inputs: which dimensions are open, and what a plan or the samples say about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from windtunnel.errors import InvalidInput

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelInput:
    """An input of a model: its tensor index and name, its shape with -1 for an open dimension, and its signature name."""

    index: int
    name: str
    shape: Shape
    alias: str | None = None

    @property
    def names(self) -> frozenset[str]:
        """The names under which people know the input."""
        return frozenset({self.name, bare_name(self.name), *([self.alias] if self.alias else [])})


@dataclass(frozen=True, slots=True)
class ChosenShapes:
    """The shape of every input, by tensor index; `known` is False where an open dimension was taken as 1 for want of
    anything better."""

    shapes: Mapping[int, Shape]
    known: bool


def bare_name(name: str) -> str:
    """TFLite wraps the name that the author gave: `serving_default_image:0` is `image`."""
    return name.split(":")[0].removeprefix("serving_default_")


def choose_shapes(inputs: Sequence[ModelInput], wanted: Mapping[str, Shape]) -> ChosenShapes:
    """The shapes in which a model is run.

    Args:
        inputs: those of the model.
        wanted: shapes by tensor name, signature name or the author's name; the name "" stands for an only input.

    An open dimension that `wanted` does not give is 1. That is a known size for the batch, the first of several
    dimensions: samples are run one by one. Raises InvalidInput for a name that no input has, a shape that does not
    fit the model, and two shapes for one input.
    """
    given: dict[int, Shape] = {}
    for name, shape in wanted.items():
        one = _named(inputs, name)
        if given.setdefault(one.index, shape) != shape:
            raise InvalidInput(f"input {bare_name(one.name)!r} is given two shapes: {given[one.index]} and {shape}")
        _require_fit(one, shape)
    shapes = {one.index: given.get(one.index) or tuple(max(size, 1) for size in one.shape) for one in inputs}
    return ChosenShapes(shapes, all(one.index in given or _only_batch_is_open(one.shape) for one in inputs))


def _only_batch_is_open(shape: Shape) -> bool:
    inner = shape[1:] if len(shape) > 1 else shape
    return all(size >= 0 for size in inner)


def _named(inputs: Sequence[ModelInput], name: str) -> ModelInput:
    found = list(inputs) if not name else [one for one in inputs if name in one.names]
    if len(found) != 1:
        known = ", ".join(one.alias or bare_name(one.name) for one in inputs)
        problem = f"the model has no input {name!r}" if name else f"the model has {len(inputs)} inputs"
        raise InvalidInput(f"{problem}; a shape was given for it", hint=f"name one of its inputs: {known}")
    return found[0]


def _require_fit(one: ModelInput, shape: Shape) -> None:
    fits = len(shape) == len(one.shape) and all(
        size > 0 and wanted in (-1, size) for size, wanted in zip(shape, one.shape, strict=True)
    )
    if not fits:
        takes = ["any" if size < 0 else size for size in one.shape]
        raise InvalidInput(
            f"input {one.alias or bare_name(one.name)!r} takes shape {shape_words(takes)}, not {shape_words(shape)}",
            hint="only dimensions that the model leaves open can be given a size",
        )


def shape_words(shape: Sequence[object]) -> str:
    """A shape for people: 1x224x224x3; a scalar is "scalar"."""
    return "x".join(map(str, shape)) or "scalar"


def shapes_words(shapes: Mapping[str, Sequence[object]]) -> str:
    """Shapes by input name for people: the shape alone where there is one input."""
    if len(shapes) == 1:
        return shape_words(next(iter(shapes.values())))
    return ", ".join(f"{bare_name(name)} {shape_words(shape)}" for name, shape in shapes.items())
