"""What counts as a dropout of a training, and what is noise that belongs to the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.heavy


def mask(v1: Any, x: Any) -> Any:
    return v1.cast(v1.random_uniform(v1.shape(x)) >= 0.3, "float32")


DROPOUTS: dict[str, Callable[[Any, Any], Any]] = {
    "floor": lambda v1, x: v1.realdiv(x, 0.7) * v1.floor(0.7 + v1.random_uniform(v1.shape(x))),
    "cast": lambda v1, x: (x * (1.0 / 0.7)) * mask(v1, x),
    "select": lambda v1, x: v1.where_v2(v1.random_uniform(v1.shape(x)) >= 0.3, x * (1.0 / 0.7), v1.zeros_like(x)),
    "range": lambda v1, x: v1.realdiv(x, 0.7) * v1.floor(v1.random_uniform(v1.shape(x), 0.7, 1.7)),
    "library": lambda v1, x: v1.nn.dropout(x, rate=0.3),
}
OTHERS: dict[str, Callable[[Any, Any], Any]] = {
    "sampling of a VAE": lambda v1, x: x + (0.5 * v1.math.softplus(x)) * v1.random_normal(v1.shape(x)),
    "noise of uniform values": lambda v1, x: x + (0.5 * x) * v1.random_uniform(v1.shape(x)),
    "sample of a Bernoulli": lambda v1, x: (
        (2.0 * x) * v1.cast(v1.random_uniform(v1.shape(x)) < v1.sigmoid(x), "float32")
    ),
    "mask of normal values": lambda v1, x: (2.0 * x) * v1.cast(v1.random_normal(v1.shape(x)) > 0.0, "float32"),
    "scaled by channel": lambda v1, x: (x * v1.constant([1.0, 2.0, 3.0, 4.0])) * mask(v1, x),
    "shuffled": lambda v1, x: v1.random_shuffle(x) * 2.0,
}


def changed(answer: Callable[[Any, Any], Any]) -> tuple[list[str], list[str]]:
    """(dropouts that were taken out, random ops that were left) of a graph."""
    import tensorflow as tf

    from windtunnel.converter.adapters.dropouts import drop_dropouts
    from windtunnel.converter.adapters.graph_nodes import Nodes
    from windtunnel.converter.adapters.inference_mode import Changes

    v1 = tf.compat.v1
    with v1.Graph().as_default() as graph:
        x = v1.placeholder(v1.float32, [None, 4], name="x")
        v1.identity(answer(v1, x), name="end")
        nodes, changes = Nodes(graph.as_graph_def()), Changes()
    drop_dropouts(nodes, nodes.ancestors(["end"]), ["x:0"], changes)
    left = nodes.ancestors(["end"])
    assert bool(changes.random) == any("Random" in nodes[name].op for name in left)
    return changes.dropouts, changes.random


@pytest.mark.parametrize("form", DROPOUTS)
def test_a_dropout_is_taken_out(form: str) -> None:
    dropouts, random = changed(DROPOUTS[form])
    assert len(dropouts) == 1 and not random


@pytest.mark.parametrize("form", OTHERS)
def test_other_random_ops_stay_and_are_said(form: str) -> None:
    dropouts, random = changed(OTHERS[form])
    assert not dropouts and len(random) == 1
