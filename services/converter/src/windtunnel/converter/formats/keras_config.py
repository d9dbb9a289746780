"""The configuration in a Keras file: read without loading Keras or anything of the model."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from windtunnel.converter.domain.conversion import Format, Source
from windtunnel.errors import InvalidInput

# What to do about classes and functions whose code is not in the file.
CODE_HINT: Final = (
    "where they are defined, export a SavedModel with model.export(path), and give that: it needs no code"
)
_MAX_BYTES: Final = 64 * 1024**2
_BROKEN = (ValueError, KeyError, OSError, zipfile.BadZipFile, zlib.error, RuntimeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, or a model within one: its class, its name, and the module and name it was registered under."""

    kind: str
    name: str
    module: str
    registered: str
    config: dict[str, Any]

    @property
    def is_registered(self) -> bool:
        """Whether the class is the author's own, as Keras 3 marks it (`package>Class`)."""
        return ">" in self.registered or ">" in self.kind


@dataclass(frozen=True, slots=True)
class KerasConfig:
    """`value` is the whole configuration as JSON; `version` of the Keras that wrote it, empty if that is not stated."""

    value: Any
    version: str

    @property
    def is_keras2(self) -> bool:
        """Whether a Keras before 3 wrote the file; the oldest ones do not state it."""
        return not self.version or self.version.split(".")[0] in ("0", "1", "2")

    def layers(self) -> Iterator[Layer]:
        """All layers, also those within models and wrappers, and the model itself."""
        yield from _layers(self.value)

    def objects(self) -> Iterator[dict[str, Any]]:
        """Everything with a class name, wherever it stands: what loading looks up."""
        yield from _objects(self.value)


def read_config(source: Source) -> KerasConfig:
    """The configuration of a .keras or HDF5 file.

    Args:
        source: the file.

    Returns:
        The configuration.

    Raises:
        InvalidInput: the file is damaged, or has weights without a model.
    """
    try:
        if source.format is Format.KERAS:
            metadata = json.loads(_member(source, "metadata.json"))
            version = str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else ""
            return KerasConfig(json.loads(_member(source, "config.json")), version)
        return _of_hdf5(source)
    except _BROKEN as error:
        raise InvalidInput(f"{source.name} cannot be read: {error}", hint="was the upload complete?") from error


def _of_hdf5(source: Source) -> KerasConfig:
    import h5py

    with h5py.File(source.path, "r") as file:
        text, version = file.attrs.get("model_config"), file.attrs.get("keras_version", "")
        if text is None:
            raise InvalidInput(
                f"{source.name} holds weights, not a model",
                hint="save the whole model with model.save('model.keras'), not with save_weights or a checkpoint",
                code="weights_only",
            )
        return KerasConfig(json.loads(text), version.decode() if isinstance(version, bytes) else str(version))


def _member(source: Source, name: str) -> bytes:
    """A member of a .keras file. What its header claims and what it inflates to are both limited.

    Raises:
        InvalidInput: a limit is exceeded.
    """
    with zipfile.ZipFile(source.path) as archive:
        claimed = archive.getinfo(name).file_size
        with archive.open(name) as file:
            data = b"" if claimed > _MAX_BYTES else file.read(_MAX_BYTES + 1)
    if claimed > _MAX_BYTES or len(data) > _MAX_BYTES:
        raise InvalidInput(f"{name} of {source.name} is larger than {_MAX_BYTES} bytes", hint="is it a Keras model?")
    return data


def refuse_code(source: Source) -> None:
    """Refuses a Keras model that carries code: a Lambda layer is Python that loading would run.

    Args:
        source: the model.

    Raises:
        InvalidInput: it carries code.
    """
    if source.format not in (Format.KERAS, Format.HDF5):
        return
    found = _objects(read_config(source).value)
    names = sorted({str(_config_of(layer).get("name", "?")) for layer in found if layer.get("class_name") == "Lambda"})
    if names:
        raise InvalidInput(
            f"{source.name} has a Lambda layer ({', '.join(names)}), which is code that loading would run",
            hint="replace it by a layer of keras.layers or keras.ops, or allow the code: --allow-code of `convert`, "
            "WINDTUNNEL_ALLOW_MODEL_CODE=true for the converter",
            code="model_has_code",
        )


def _layers(value: Any) -> Iterator[Layer]:
    """Layers are in a list `layers`, in a wrapper under `layer` (and its like), or are the model itself."""
    if not isinstance(value, dict):
        return
    kind, config = value.get("class_name"), _config_of(value)
    if isinstance(kind, str):
        name = str(config.get("name") or value.get("name") or "?")
        yield Layer(kind, name, str(value.get("module") or ""), str(value.get("registered_name") or ""), config)
    held = config.get("layers", value.get("config") if isinstance(value.get("config"), list) else ())
    for one in held if isinstance(held, list) else ():
        yield from _layers(one)
    for key in ("layer", "forward_layer", "backward_layer", "cell"):
        yield from _layers(config.get(key))


def _config_of(value: dict[str, Any]) -> dict[str, Any]:
    found = value.get("config")
    return found if isinstance(found, dict) else {}


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """All objects with a class name, wherever they stand."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for one in value.values():
            yield from _objects(one)
    elif isinstance(value, list):
        for one in value:
            yield from _objects(one)


def asks_for_code(said: str) -> bool:
    """Whether Keras refused a file because a class or function that it names is not known.

    Args:
        said: text of its error.
    """
    return (
        re.search(r"Could not (locate|interpret)|Unknown (layer|object|\w+ function|activation)|custom_objects", said)
        is not None
    )
