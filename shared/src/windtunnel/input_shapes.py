"""Shapes of a model's inputs: which dimensions are open, and what a plan or the samples say about them.

Light on purpose: the benchmark imports it under emulation, where only numpy and the runtime are installed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from windtunnel.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Shapes, the batch first, by input name.
Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An input of a model: `shape` with its batch axis, -1 where it is open; `alias` is another name for it.

    `stored`: the integers that a quantized input stores. Samples of just that type, without a pipeline, reach the
    model as they are; all others are real numbers of `dtype`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    alias: str | None = None
    stored: str | None = None


@dataclass(frozen=True, slots=True)
class ChosenShapes:
    """The shape of every input, by name.

    `known` is False if a dynamic dimension was taken as 1 because nothing says its size.
    """

    shapes: Mapping[str, tuple[int, ...]]
    known: bool


def bare_name(name: str) -> str:
    """The name that the author gave; TFLite wraps it: `serving_default_image:0` is `image`.

    Args:
        name: of a tensor.

    Returns:
        The inner name.
    """
    return name.split(":")[0].removeprefix("serving_default_")


def given_shapes(specs: Sequence[InputSpec], given: Shapes) -> dict[str, tuple[int, ...]]:
    """The shapes that a plan gives for dynamic dimensions.

    Args:
        specs: of the model's inputs.
        given: shapes with the batch, by tensor name, signature name, or the name that the author gave; "" is the only
            input of the model.

    Returns:
        By the names of `specs`; only inputs that the plan names.

    Raises:
        InvalidInput: a name is not an input, an input does not take its shape, or one input has two shapes.
    """
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in given.items():
        spec = _named(specs, name)
        if (wrong := _misfit(shape, spec.shape)) is not None:
            raise InvalidInput(
                f"input_shapes gives {name or _shown(spec)!r} the shape {list(shape)}; the input takes "
                f"{shape_words(spec.shape)}: {wrong[0]}",
                hint=wrong[1],
            )
        if found.setdefault(spec.name, tuple(shape)) != tuple(shape):
            raise InvalidInput(f"input_shapes gives input {_shown(spec)!r} two shapes")
    return found


def shape_words(shape: Sequence[int]) -> str:
    """A shape for people.

    Args:
        shape: -1 is a dynamic dimension.

    Returns:
        For example [1, any, 3].
    """
    return f"[{', '.join('any' if size < 0 else str(size) for size in shape)}]"


def _misfit(shape: Sequence[int], takes: Sequence[int]) -> tuple[str, str] | None:
    """What of `shape` does not fit `takes`, and what to do; None where it fits."""
    if len(shape) != len(takes):
        return f"{len(takes)} dimensions, not {len(shape)}", "give every size, the batch first"
    wrong = [place for place, size in enumerate(takes) if size >= 0 and size != shape[place]]
    if not wrong:
        return None
    said = ", ".join(f"dimension {place + 1} must be {takes[place]}, not {shape[place]}" for place in wrong)
    return said, "only dynamic dimensions (any) can have another size; dimension 1 is the batch"


def _named(specs: Sequence[InputSpec], name: str) -> InputSpec:
    exact = [one for one in specs if name in (one.name, one.alias)]
    bare = [one for one in specs if bare_name(name) == bare_name(one.name)]
    only = list(specs) if not name and len(specs) == 1 else []
    found = next(iter(exact or bare or only), None)
    if found is None:
        problem = f"names {name!r}, which is not an input" if name else f"names none of the {len(specs)} inputs"
        raise InvalidInput(f"input_shapes {problem}", hint=f"the inputs are {', '.join(map(_shown, specs))}")
    return found


def _shown(spec: InputSpec) -> str:
    return spec.alias or bare_name(spec.name)


def with_shapes(specs: Sequence[InputSpec], given: Shapes) -> list[InputSpec]:
    """The specs with given shapes in place of their own.

    Args:
        specs: of the model's inputs.
        given: see `given_shapes`.

    Returns:
        In the same order.

    Raises:
        InvalidInput: as from `given_shapes`.
    """
    planned = given_shapes(specs, given)
    return [dataclasses.replace(spec, shape=planned.get(spec.name, spec.shape)) for spec in specs]


def shapes_fed(
    specs: Sequence[InputSpec], given: Shapes, sample: Mapping[str, NDArray[Any]] | None
) -> dict[str, tuple[int, ...]]:
    """The shapes in which samples reach the model.

    A shape that the model fixes is its own. An open one comes from `given`; without that, from `sample`. An open batch
    alone is 1.

    Args:
        specs: of the model's inputs.
        given: see `given_shapes`.
        sample: what the inputs are fed, by name; None: not known.

    Returns:
        By the names of `specs`; empty if one is not known.
    """
    sampled = {} if sample is None else {name: tuple(map(int, array.shape)) for name, array in sample.items()}
    chosen = choose_shapes(specs, {**sampled, **given_shapes(specs, given)})
    return dict(chosen.shapes) if chosen.known else {}


def choose_shapes(specs: Sequence[InputSpec], given: Shapes) -> ChosenShapes:
    """The shapes in which a model is run: those given, and 1 for a dimension that stays open.

    1 is a known size for the batch, the first of several dimensions: samples are run one by one.

    Args:
        specs: of the model's inputs.
        given: see `given_shapes`.

    Returns:
        The shape of every input.
    """
    planned = given_shapes(specs, given)
    shapes = {spec.name: planned.get(spec.name) or tuple(abs(size) for size in spec.shape) for spec in specs}
    return ChosenShapes(shapes, all(spec.name in planned or _has_fixed_size(spec.shape) for spec in specs))


def _has_fixed_size(shape: Sequence[int]) -> bool:
    """Whether at most the batch is open."""
    return all(size >= 0 for size in (shape[1:] if len(shape) > 1 else shape))


def shapes_words(shapes: Shapes) -> str:
    """Shapes for people.

    Args:
        shapes: by input.

    Returns:
        For example 1x224x224x3; with the names of the inputs if there are several.
    """
    if len(shapes) == 1:
        return _words(next(iter(shapes.values())))
    return ", ".join(f"{bare_name(name)} {_words(shape)}" for name, shape in shapes.items())


def _words(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
