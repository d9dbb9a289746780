"""Outputs that do not depend on the input (anchors, tables) and have no batch axis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from windtunnel.converter.convert import convert
from windtunnel.errors import InvalidInput
from windtunnel.isolation import ChildPool

pytestmark = [pytest.mark.heavy, pytest.mark.asyncio(loop_scope="module")]
ANCHORS = np.arange(9, dtype=np.float32).reshape(3, 3)


def saved(folder: Path, batch: int | None) -> Path:
    module = tf.Module()

    def called(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"doubled": 2.0 * x, "anchors": tf.constant(ANCHORS), "total": tf.constant(7.0)}

    module.called = tf.function(called, input_signature=[tf.TensorSpec((batch, 3), tf.float32, name="x")])
    tf.saved_model.save(module, str(folder), signatures=module.called)
    return folder


@pytest.mark.parametrize("count", [3, 40])
@pytest.mark.parametrize("batch", [1, None])
async def test_constants_are_compared_whole(batch: int | None, count: int, pool: ChildPool, tmp_path: Path) -> None:
    """As many samples as the constant has rows, too."""
    x = np.random.default_rng(1).uniform(-1, 1, (count, 3)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=x)
    model = saved(tmp_path / "saved", batch)

    converted = await convert(model, tmp_path, pool, samples=tmp_path / "samples.npz")

    assert converted.check.passed, converted.check.message
    assert converted.check.output_nrmse == 0.0 and converted.check.samples == count


@pytest.mark.parametrize("content", [b"\xff\xfe\x81" * 100, b"hello"])
async def test_a_graph_of_a_checkpoint_that_is_not_one(content: bytes, pool: ChildPool, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "net.meta").write_bytes(content)
    (folder / "net.index").write_bytes(b"\x00" * 100)
    with pytest.raises(InvalidInput, match=r"net\.meta is not the graph of a checkpoint"):
        await convert(folder, tmp_path, pool)
