"""What the loader of Keras 2 may look up for a file that nobody trusts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from windtunnel.converter.domain.conversion import Format, Source
from windtunnel.converter.formats.keras_config import KerasConfig
from windtunnel.converter.formats.keras_names import require_own_names
from windtunnel.errors import InvalidInput


def entry(module: str | None, kind: str, config: Any = None) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": {} if config is None else config, "registered_name": None}


def checked(*layers: dict[str, Any]) -> None:
    value = {"class_name": "Functional", "module": "keras", "config": {"layers": list(layers)}}
    require_own_names(KerasConfig(value, "2.15.0"), Source(Path("model.keras"), Format.KERAS))


@pytest.mark.parametrize(
    "layer",
    [
        entry("keras.layers", "Dense", {"activation": entry("builtins", "function", "eval")}),
        entry("keras.layers", "Dense", {"activation": entry("builtins", "function", "exec")}),
        entry("builtins", "eval"),
        entry("builtins", "object"),
        entry("os", "function", "system"),
        entry("tensorflow", "function", "py_function"),
        entry("tensorflow", "py_function"),
        entry("tensorflow.io", "function", "write_file"),
        entry("tensorflow.python.lib.io.file_io", "function", "delete_recursively"),
        entry("tensorflow.python.ops.script_ops", "function", "eager_py_func"),
        entry("keras.utils", "function", "get_file"),
        entry("keras.src.saving.serialization_lib", "function", "deserialize_keras_object"),
        # Through a module into what it imports.
        entry("keras.src.layers.core.dense", "function", "tf.py_function"),
        entry(None, "TFOpLambda", {"function": "io.write_file"}),
        entry(None, "TFOpLambda", {"function": "raw_ops.WriteFile"}),
        entry(None, "TFOpLambda", {"function": "py_function"}),
        entry(None, "TFOpLambda", {"function": "compat.v1.py_func"}),
        entry("keras.layers", "TFOpLambda", {"function": "load_op_library"}),
        entry(None, "TensorFlowOpLayer", {"node_def": {"op": "WriteFile"}}),
        entry(None, "TensorFlowOpLayer", {"node_def": '{"name": "x", "op": "EagerPyFunc"}'}),
    ],
)
def test_other_than_parts_of_layers_is_refused(layer: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="not parts of Keras layers") as caught:
        checked(entry("keras.layers", "InputLayer"), layer)
    assert caught.value.code == "custom_layer" and "export a SavedModel" in caught.value.hint


@pytest.mark.parametrize(
    "layer",
    [
        entry("keras.layers", "Dense", {"kernel_initializer": entry("keras.initializers", "GlorotUniform")}),
        entry("keras.layers", "Activation", {"activation": entry("builtins", "function", "relu6")}),
        entry("tf_keras.src.engine.functional", "Functional"),
        entry("keras.src.layers.attention.multi_head_attention", "MultiHeadAttention"),
        entry("keras.optimizers.legacy", "Adam"),
        entry("tensorflow.python.ops.nn_ops", "function", "relu"),
        entry(None, "TFOpLambda", {"function": "math.multiply"}),
        entry(None, "TFOpLambda", {"function": "compat.v1.nn.depthwise_conv2d"}),
        entry(None, "SlicingOpLambda", {"function": "__operators__.getitem"}),
        entry(None, "TensorFlowOpLayer", {"node_def": {"op": "AddV2"}}),
    ],
)
def test_parts_of_layers_are_taken(layer: dict[str, Any]) -> None:
    checked(layer)
