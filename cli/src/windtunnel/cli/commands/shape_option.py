"""Shapes of a model's inputs on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

Shapes = dict[str, tuple[int, ...]]


class ShapeType(click.ParamType[tuple[str, tuple[int, ...]]]):
    """`1,224,224,3` for the only input of a model, `image=1,224,224,3` for one of several."""

    name = "shape"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """Reads the shape of an input: NAME=1,224,224,3, or only the sizes.

        Args:
            value: what the user typed, or a shape that was read before.
            param: the option.
            ctx: the command.

        Returns:
            The name of the input, empty if it is not given, and its sizes.
        """
        if isinstance(value, tuple):
            return value[0], value[1]
        name, _, sizes = str(value).rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.split(","))
        except ValueError:
            shape = ()
        if not shape or min(shape) < 1:
            self.fail(f"{value!r} is not a shape: give every size, for example image=1,224,224,3.", param, ctx)
        return name.strip(), shape


shape_option = click.option(
    "--shape",
    "shapes",
    type=ShapeType(),
    multiple=True,
    metavar="[NAME=]SIZES",
    help="Shape of an input with dynamic dimensions, the batch first (image=1,224,224,3); may be repeated.",
)


def given_shapes(shapes: Sequence[tuple[str, tuple[int, ...]]]) -> Shapes:
    """The shapes of several `--shape`.

    Args:
        shapes: name of the input and its sizes, for each.

    Returns:
        The sizes by input name.

    Raises:
        BadParameter: two shapes are for one input.
    """
    found: Shapes = {}
    for name, shape in shapes:
        if found.setdefault(name, shape) != shape:
            raise click.BadParameter(f"two shapes for input {name!r}", param_hint="--shape")
    return found


def shapes_of(model: Path, shapes: Shapes, samples: Path | None, pipeline: Any) -> Shapes:
    """The shapes in which a model is run: those given, or those of the first sample.

    Raises InvalidInput, NotFound and Unsupported for samples that do not fit the model.

    Args:
        model: a .tflite.
        shapes: those given, by input name.
        samples: .npz, or None.
        pipeline: preprocessing of the samples, or None.

    Returns:
        The sizes by input name; empty if neither shapes nor samples are given.
    """
    if samples is None:
        return shapes
    from windtunnel.pipeline import sample_inputs, shapes_fed
    from windtunnel.tflite import input_specs, read_model

    specs = input_specs(read_model(model))
    return shapes_fed(specs, shapes, next(iter(sample_inputs(samples, pipeline, specs, shapes=shapes))))
