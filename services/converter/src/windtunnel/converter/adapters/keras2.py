"""What Keras 2 wrote that Keras 3 does not read. Runs in a child process only."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import tensorflow as tf

from windtunnel.converter.domain.conversion import Format, Source
from windtunnel.converter.formats.keras_config import KerasConfig

# Classes of Keras 2 alone: ops of TensorFlow between its layers, and models under older names.
OWN_CLASSES: Final = frozenset(
    {"Functional", "Model", "Sequential", "TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod"}
    | {"CuDNNLSTM", "CuDNNGRU", "LocallyConnected1D", "LocallyConnected2D", "ThresholdedReLU", "SyncBatchNormalization"}
    | {"InstanceMethod", "InstanceProperty", "DenseFeatures", "BatchNormalizationV1", "BatchNormalizationV2"}
)
# Arguments that layers of Keras 2 have and that say nothing with these values.
_VOID: Final[Mapping[str, tuple[Any, ...]]] = {
    "groups": (1,),
    "time_major": (False,),
    "renorm": (False,),
    "renorm_clipping": (None, {}),
    "renorm_momentum": (0.99,),
    "virtual_batch_size": (None,),
    "adjustment": (None,),
    "fused": (None, True, False),
    "implementation": (0, 1, 2),
    "reset_after_applied": (None,),
    "ragged": (False,),
    "experimental_autocast": (True,),
}


def drop_void_arguments(config: KerasConfig) -> list[str]:
    """Removes arguments without effect that Keras 3 does not know.

    Args:
        config: of the model; it is changed.

    Returns:
        Which ones, each once.
    """
    import keras

    dropped: dict[str, None] = {}
    for layer in config.layers():
        kind = getattr(keras.layers, layer.kind, None)
        for name in [name for name, values in _VOID.items() if layer.config.get(name, ...) in values]:
            if kind is not None and not _takes(kind, name):
                dropped[f"{name}={layer.config.pop(name)} of {layer.kind}"] = None
    return list(dropped)


def _takes(kind: Any, argument: str) -> bool:
    """Whether the constructor names the argument, or that of a base class to which it hands what it does not name."""
    for base in inspect.getmro(kind):
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters
        if argument in parameters:
            return True
        if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
            return False
    return False


def with_config(source: Source, config: KerasConfig, path: Path) -> Source:
    """Copies a Keras file with another configuration.

    Args:
        source: the file.
        config: the other configuration.
        path: of the copy.

    Returns:
        The copy.
    """
    text = json.dumps(config.value)
    if source.format is Format.HDF5:
        import h5py

        shutil.copyfile(source.path, path)
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = text
    else:
        with zipfile.ZipFile(source.path) as old, zipfile.ZipFile(path, "w") as new:
            for member in old.infolist():
                new.writestr(member.filename, text if member.filename == "config.json" else old.read(member))
    return dataclasses.replace(source, path=path, given=source.name)


def load(path: Path, *, safe: bool) -> Any:
    """Reads a model with Keras 2.

    Args:
        path: of the file.
        safe: refuse code in it.

    Returns:
        The model.
    """
    import tf_keras

    return tf_keras.models.load_model(str(path), compile=False, safe_mode=safe)


def spec_of(tensor: Any) -> tf.TensorSpec:
    """Shape and dtype of an input of a model of either Keras.

    Args:
        tensor: the input.

    Returns:
        The spec.
    """
    dtype = tensor.dtype if isinstance(tensor.dtype, tf.DType) else tf.as_dtype(str(tensor.dtype))
    return tf.TensorSpec(tensor.shape, dtype)


def structure_of(model: Any) -> Any:
    """How a model takes its inputs: one, or a list, tuple or dict of them.

    Args:
        model: of either Keras.

    Returns:
        The structure.
    """
    found = getattr(model, "_inputs_struct", None)
    if found is None:
        found = getattr(model, "_nested_inputs", None)
    if found is None:
        found = list(model.inputs) if len(model.inputs) > 1 else model.inputs[0]
    return found


def output_names(model: Any, *, by_layer: bool) -> tuple[str, ...]:
    """Names of the outputs as TensorFlow's converter gives them: keys of a dict, or their numbers.

    Args:
        model: of either Keras.
        by_layer: without a dict the names of their layers, as with Keras 2.

    Returns:
        In the model's order.
    """
    found = getattr(model, "_outputs_struct", None)
    if found is None:
        found = getattr(model, "_nested_outputs", None)
    count = len(model.outputs)
    if isinstance(found, dict) and len(found) == count:
        return tuple(str(name) for name in sorted(found))
    layers = [str(name) for name in getattr(model, "output_names", None) or ()]
    if by_layer and len(set(layers)) == len(layers) == count:
        return tuple(layers)
    return tuple(f"output_{number}" for number in range(count))
