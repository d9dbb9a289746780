"""Shapes in which samples reach a model: from the plan, the samples, or the model itself."""

from __future__ import annotations

import numpy as np
import pytest

from windtunnel.errors import InvalidInput
from windtunnel.pipeline import InputSpec, given_shapes, sample_inputs, shapes_fed

OPEN = InputSpec("serving_default_image:0", (-1, -1, -1, 3), "float32", "image")
FIXED = InputSpec("mask", (1, 8), "float32")
BATCH = InputSpec("mask", (-1, 8), "float32")
SAMPLE = {OPEN.name: np.zeros((1, 48, 32, 3)), "mask": np.zeros((1, 8))}


def test_a_fixed_input_has_its_own_shape() -> None:
    assert shapes_fed([FIXED], {}, None) == {"mask": (1, 8)}


def test_an_open_batch_alone_is_one() -> None:
    assert shapes_fed([BATCH], {}, None) == {"mask": (1, 8)}


def test_open_dimensions_have_the_size_of_the_sample() -> None:
    assert shapes_fed([OPEN, FIXED], {}, SAMPLE) == {OPEN.name: (1, 48, 32, 3), "mask": (1, 8)}


def test_without_a_sample_open_dimensions_are_not_known() -> None:
    assert shapes_fed([OPEN, FIXED], {}, None) == {}
    assert shapes_fed([InputSpec("tokens", (-1,), "int32")], {}, None) == {}


@pytest.mark.parametrize("name", ["image", "serving_default_image:0", "image:0"])
def test_the_plan_goes_before_the_sample(name: str) -> None:
    assert shapes_fed([OPEN, FIXED], {name: [2, 224, 224, 3]}, SAMPLE)[OPEN.name] == (2, 224, 224, 3)


def test_a_shape_for_an_input_that_is_not_there() -> None:
    with pytest.raises(InvalidInput, match="'images', which is not an input") as caught:
        given_shapes([OPEN, FIXED], {"images": [1, 2, 2, 3]})
    assert caught.value.hint == "the inputs are image, mask"


@pytest.mark.parametrize("shape", [[1, 224, 224, 1], [224, 224, 3], [1, 224, 224, 3, 1]])
def test_a_shape_that_the_input_does_not_take(shape: list[int]) -> None:
    with pytest.raises(InvalidInput, match=r"the input takes \[any, any, any, 3\]"):
        given_shapes([OPEN], {"image": shape})


def test_random_inputs_have_the_given_shape() -> None:
    feed = sample_inputs(None, None, [OPEN], shapes={"image": (1, 24, 40, 3)})
    assert next(iter(feed))[OPEN.name].shape == (1, 24, 40, 3)
