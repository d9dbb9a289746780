"""Keras models in one file (.keras, HDF5), of Keras 3 and of Keras 2."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import tensorflow as tf

from windtunnel.converter.adapters import keras2
from windtunnel.converter.adapters.original_model import Arrays, Original, frozen, port, reason
from windtunnel.converter.domain.conversion import Format, Source
from windtunnel.converter.formats.keras_config import CODE_HINT, KerasConfig, read_config
from windtunnel.converter.formats.keras_names import require_own_names
from windtunnel.datacheck.findings import CONVERSION_KERAS2, Finding
from windtunnel.errors import InvalidInput, Unsupported

_SUFFIX: Final = {Format.KERAS: ".keras", Format.HDF5: ".h5"}


def load_keras(source: Source) -> Original:
    """Loads a model with Keras 3, or with Keras 2 if only that reads it.

    Args:
        source: the file.

    Returns:
        The model.

    Raises:
        InvalidInput: the file is damaged, names classes whose code it does not have, or Keras refuses it; the message
            says why.
    """
    config = read_config(source)
    try:
        return _original(source, _load(source), (), config)
    except InvalidInput:
        raise
    except Exception as error:
        unknown = _unknown_classes(config)
        if unknown:
            raise _no_code(source, unknown) from error
        if not config.is_keras2:
            raise
        return _keras2(source, config, error)


def _load(source: Source) -> Any:
    import keras

    with _named(source) as path:
        return keras.saving.load_model(str(path), compile=False, safe_mode=not source.allow_code)


@contextmanager
def _named(source: Source) -> Iterator[Path]:
    """The model under a name with the suffix by which Keras recognizes formats, and which an artifact does not have."""
    path = Path.cwd() / f"model{_SUFFIX[source.format]}"
    path.symlink_to(source.path)
    try:
        yield path
    finally:
        path.unlink()


def _keras2(source: Source, config: KerasConfig, refused: Exception) -> Original:
    """Loads a file of Keras 2 that Keras 3 refuses: without arguments that say nothing; if that fails, with Keras 2.

    Raises:
        Unsupported: Keras 2 is not installed, or does not read it either.
    """
    dropped = keras2.drop_void_arguments(config)
    said = f"{source.name} was written by Keras {config.version}"
    if dropped:
        finding = Finding(
            CONVERSION_KERAS2,
            f"{said}; arguments that Keras 3 does not know and that have no effect were dropped: {', '.join(dropped)}",
        )
        copy = keras2.with_config(source, config, Path.cwd() / f"repaired{_SUFFIX[source.format]}")
        # What is refused again may still be read by Keras 2.
        with suppress(Exception):
            return _original(source, _load(copy), (finding,), config)
        copy.path.unlink()
    if importlib.util.find_spec("tf_keras") is None:
        raise Unsupported(
            f"{said}, and Keras 3 refuses it: {reason(refused)}",
            hint="install tf-keras 2.21 for the converter, or export a SavedModel with the Keras that wrote it",
            code="keras2",
        ) from refused
    require_own_names(config, source)
    with _named(source) as path:
        model = keras2.load(path, safe=not source.allow_code)
    finding = Finding(CONVERSION_KERAS2, f"{said} and was read with tf-keras")
    return _original(source, model, (finding,), config)


def _unknown_classes(config: KerasConfig) -> dict[str, str]:
    """Layer classes that no Keras has, with the name of a layer of each."""
    import keras

    known = {*dir(keras.layers), *dir(keras), *keras2.OWN_CLASSES}
    return {
        layer.registered or layer.kind: layer.name
        for layer in config.layers()
        if layer.kind not in known or layer.is_registered
    }


def _no_code(source: Source, unknown: dict[str, str]) -> InvalidInput:
    classes = ", ".join(f"{kind} (layer {name!r})" for kind, name in sorted(unknown.items()))
    return InvalidInput(
        f"{source.name} uses classes whose code is not in the file: {classes}",
        hint=CODE_HINT,
        code="custom_layer",
    )


def _original(source: Source, model: Any, findings: Sequence[Finding], config: KerasConfig) -> Original:
    if not getattr(model, "inputs", None):
        raise InvalidInput(f"{source.name} has no fixed input shape", hint="build the model before saving it")
    inputs = tuple(port(str(tensor.name).split(":")[0], keras2.spec_of(tensor)) for tensor in model.inputs)
    structure, outputs = keras2.structure_of(model), keras2.output_names(model, by_layer=config.is_keras2)

    def call(*tensors: Any) -> list[Any]:
        given = tf.nest.pack_sequence_as(structure, list(tensors))
        return list(tf.nest.flatten(model(given, training=False)))

    specs = [tf.TensorSpec((1, *_without_batch(one.shape)), one.dtype, name=one.name) for one in inputs]
    function = tf.function(call).get_concrete_function(*specs)
    batched = tf.function(call, reduce_retracing=True)
    names = [one.name for one in inputs]

    def run(arrays: Arrays) -> Arrays:
        values = batched(*(tf.constant(arrays[name]) for name in names))
        return {name: value.numpy() for name, value in zip(outputs, values, strict=True)}

    return Original(inputs, outputs, frozen(function, names, outputs), run, keep=model, findings=tuple(findings))


def _without_batch(shape: Sequence[int]) -> tuple[int | None, ...]:
    return tuple(None if size < 0 else size for size in shape[1:])
