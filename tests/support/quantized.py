"""A small convolutional network and what litert-quantizer makes of it: calibrated well or badly."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.fault_runs import quantize, ranges
from support.layers import Layers, options, random_weights
from windtunnel.tflite import Quantization
from windtunnel.tflite.edit import Editor

# The layers of `small_network` whose scale is free, each with those that share it, first made first.
GROUPS = (("conv_1", "pooled"), ("conv_2",), ("conv_3", "flat"), ("logits",))
_BIASED = {"CONV_2D": 2, "FULLY_CONNECTED": 2}


def small_network(path: Path, *, unlike: float = 1.0) -> Path:
    """image (1, 8, 8, 2) -> conv_1 RELU -> pooled -> conv_2 -> conv_3 RELU -> flat -> logits -> probabilities.

    `unlike` scales the weights of all channels of conv_3 but the first two.
    """
    net = Layers()
    source = net.tensor("image", (1, 8, 8, 2))
    zeros = np.zeros(8, np.float32)
    first = net.conv("conv_1", source, random_weights((8, 3, 3, 2), seed=1), zeros, (1, 8, 8, 8), activation="RELU")
    pool = options("Pool2D", filterHeight=2, filterWidth=2, strideH=2, strideW=2, padding="VALID")
    pooled = net.layer("MAX_POOL_2D", "pooled", [first], (1, 4, 4, 8), pool)
    middle = random_weights((8, 3, 3, 8), seed=2, scale=0.2)
    second = net.conv("conv_2", pooled, middle, random_weights((8,), seed=3), (1, 4, 4, 8))
    inner = random_weights((8, 3, 3, 8), seed=4, scale=0.2)
    inner[2:] *= np.float32(unlike)
    third = net.conv("conv_3", second, inner, zeros, (1, 4, 4, 8), activation="RELU")
    flat = net.reshape("flat", third, (1, 128))
    logits = net.fully_connected("logits", flat, random_weights((5, 128), seed=5, scale=0.2), zeros[:5], 1)
    end = net.layer("SOFTMAX", "probabilities", [logits], (1, 5), options("Softmax", beta=1.0))
    return net.write(path, [source], [end])


def images(count: int, seed: int, scale: float = 1.0) -> NDArray[np.float32]:
    """Normally distributed images, (count, 8, 8, 2)."""
    return np.random.default_rng(seed).normal(0.0, scale, (count, 8, 8, 2)).astype(np.float32)


def calibrated(model: Path, target: Path, variant: str, rows: NDArray[np.float32], rules: Any = None) -> Path:
    """What litert-quantizer makes of a model with the true ranges of these inputs; variants as in `fault_runs`."""
    return quantize(model, target, variant, ranges(model, [{"": one[None]} for one in rows]), rules)


def written(folder: Path) -> Path:
    """The folder, with float32.tflite, int8.tflite and samples.npz, the images that the ranges were calibrated on."""
    calibrated(small_network(folder / "float32.tflite"), folder / "int8.tflite", "int8", images(16, 2))
    np.savez(folder / "samples.npz", x=images(16, 2))
    return folder


def change_range(
    source: Path,
    target: Path,
    names: Collection[str],
    *,
    factor: float = 1.0,
    shift: int = 0,
    keep_biases: bool = True,
) -> Path:
    """A copy in which activations have another scale (times `factor`) and zero point (plus `shift`).

    The scale of a bias depends on that of the layer's input. Biases say the same as before, or with `keep_biases` False
    their integers stay.
    """
    editor = Editor(source)
    facts = editor.facts
    changed = {tensor.index for tensor in facts.tensors if tensor.name in names and not tensor.is_constant}
    assert len(changed) == len(names)
    for index in changed:
        tensor = facts.tensors[index]
        assert tensor.quantization is not None
        zero = tensor.quantization.zero_points[0] + shift
        assert np.iinfo(tensor.dtype).min <= zero <= np.iinfo(tensor.dtype).max
        editor.set_quantization(index, Quantization((tensor.quantization.scales[0] * factor,), (zero,)))
    for op in facts.ops:
        if op.inputs[0] in changed and op.name in _BIASED:
            bias = facts.tensors[op.inputs[_BIASED[op.name]]]
            assert bias.quantization is not None
            scales = tuple(scale * factor for scale in bias.quantization.scales)
            if keep_biases:
                editor.set_constant(bias.index, np.rint(facts.constant(bias) / factor))
            editor.set_quantization(bias.index, Quantization(scales, bias.quantization.zero_points, 0))
    return editor.write(target)
