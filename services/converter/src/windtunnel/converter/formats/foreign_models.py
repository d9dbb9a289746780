"""Models of other tools, and files that are not models: recognized, so that the message says what to do."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from windtunnel.errors import InvalidInput, Unsupported, UserError
from windtunnel.protobuf_shape import kind_of

_HEAD: Final = 4096
_JSON: Final = 1024 * 1024
_TORCH: Final = "convert it with litert-torch (litert_torch.convert(...).export('model.tflite')) and give the .tflite"
_SOURCE: Final = "export the model to a SavedModel or .tflite from the framework that made it, and give that"


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a file or folder is (`a ...`), and what to do. `is_model`: a whole model, in a form that is not read."""

    what: str
    hint: str
    is_model: bool = True

    def error(self, name: str) -> UserError:
        """The error for such a file.

        Args:
            name: of the file.

        Returns:
            Unsupported for a model, InvalidInput for other files.
        """
        if self.is_model:
            return Unsupported(f"{name} is {self.what}, which Windtunnel does not read", hint=self.hint)
        return InvalidInput(f"{name} is not a model: it is {self.what}", hint=self.hint)


ONNX: Final = Foreign(
    "an ONNX model", "convert it with onnx2tf (onnx2tf -i model.onnx) and give the .tflite or SavedModel"
)
TORCH: Final = Foreign("a PyTorch model", _TORCH)
TORCH_WEIGHTS: Final = Foreign("a PyTorch file of weights or of a pickled module", f"load it into its class; {_TORCH}")
TORCH_SCRIPT: Final = Foreign("a TorchScript model", f"take the module that it was scripted from; {_TORCH}")
TORCH_EXPORT: Final = Foreign("a PyTorch exported program (.pt2)", f"load it with torch.export.load; {_TORCH}")
EXECUTORCH: Final = Foreign("an ExecuTorch program (.pte)", f"take the PyTorch model that it was made from; {_TORCH}")
CORE_ML: Final = Foreign("a Core ML model", "Core ML runs on Apple's systems only: give the model it was made from")
TFJS: Final = Foreign(
    "a TensorFlow.js model",
    "give the Keras model or SavedModel it was made from, or convert it back with tensorflowjs_converter "
    "--input_format=tfjs_layers_model --output_format=keras_saved_model",
)
SAFETENSORS: Final = Foreign(
    "a safetensors file, which holds weights and no graph", "load them into the model's code and export that", False
)
GGUF: Final = Foreign(
    "a GGUF file of a language model", "Windtunnel tests .tflite models: export the model it was made from"
)
PICKLE: Final = Foreign(
    "a Python pickle (scikit-learn, joblib or the like)",
    "a pickle is code and is not opened: give a TensorFlow, Keras or .tflite model",
    False,
)
LORA: Final = Foreign(
    "a folder of LoRA adapters, which hold changes of weights", "merge them into the base model, and export that", False
)
LFS: Final = Foreign("a Git LFS pointer", "fetch the file itself: git lfs pull", False)
HTML: Final = Foreign(
    "a web page (HTML)", "the download gave a page instead of the file: log in, or use its direct link", False
)
META_GRAPH: Final = Foreign(
    "the graph of a checkpoint (MetaGraphDef), without its values",
    "give the folder with the .meta, .index and .data files",
    False,
)
SAVED_MODEL_ALONE: Final = Foreign(
    "the graph of a SavedModel, without its values",
    "give the folder that holds it, with `variables` next to it, or an archive of that folder",
    False,
)
CAFFE2: Final = Foreign("a Caffe2 network", _SOURCE)
TF2_WEIGHTS: Final = Foreign(
    "a checkpoint of weights without a graph (no .meta file)",
    "load the weights into the model and export it: model.export('model')",
    False,
)
KERAS_JSON: Final = Foreign(
    "the architecture of a Keras model, without its weights", "save the whole model: model.save('model.keras')", False
)
ARRAYS: Final = Foreign("a file of NumPy arrays (samples or weights)", "give the model itself", False)
FLAX: Final = Foreign(
    "a file of Flax or JAX parameters, which hold weights and no graph",
    "export the model with jax2tf to a SavedModel: jax2tf.convert(apply) in a tf.Module, then tf.saved_model.save",
    False,
)
TRANSFORMERS: Final = Foreign("a folder of a Transformers model", f"load it with its class; {_TORCH}")

# Recognized by the name alone: these have no mark, or nobody needs it.
_SUFFIXES: Final = {
    ".onnx": ONNX,
    ".ort": ONNX,
    ".pt": TORCH,
    ".pth": TORCH,
    ".ckpt": TORCH,
    ".pt2": TORCH_EXPORT,
    ".pte": EXECUTORCH,
    ".mlmodel": CORE_ML,
    ".safetensors": SAFETENSORS,
    ".gguf": GGUF,
    ".ggml": GGUF,
    ".msgpack": FLAX,
    ".pkl": PICKLE,
    ".pickle": PICKLE,
    ".joblib": PICKLE,
    ".npy": ARRAYS,
    ".npz": ARRAYS,
    ".caffemodel": Foreign("a Caffe model", _SOURCE),
    ".prototxt": Foreign("the description of a Caffe network", _SOURCE, False),
    ".pdmodel": Foreign("a PaddlePaddle model", _SOURCE),
    ".pdparams": Foreign("a file of PaddlePaddle weights", _SOURCE, False),
    ".engine": Foreign("a TensorRT engine", _SOURCE),
    ".trt": Foreign("a TensorRT engine", _SOURCE),
    ".mnn": Foreign("an MNN model", _SOURCE),
    ".rknn": Foreign("an RKNN model", _SOURCE),
    ".dlc": Foreign("a Qualcomm DLC model", _SOURCE),
    ".litertlm": Foreign("a LiteRT-LM bundle of a language model", "give the .tflite models in it"),
}
_MAGIC: Final = (
    (b"version https://git-lfs.github.com/spec/", LFS),
    (b"GGUF", GGUF),
    (b"\x93NUMPY", ARRAYS),
    (b"LITERTLM", _SUFFIXES[".litertlm"]),
)
_PICKLE: Final = re.compile(rb"\x80[\x02-\x05]")
_TORCH_MAGIC: Final = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
_HTML: Final = re.compile(rb"\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_PROTOBUFS: Final = {
    "onnx": ONNX,
    "coreml": CORE_ML,
    "saved_model": SAVED_MODEL_ALONE,
    "meta_graph": META_GRAPH,
    "caffe2": CAFFE2,
}


def foreign(path: Path) -> Foreign | None:
    """Recognizes a file or folder that Windtunnel does not read.

    Args:
        path: of it.

    Returns:
        None: it is not known.
    """
    return _folder(path) if path.is_dir() else _file(path)


def foreign_inside(folder: Path) -> tuple[Path, Foreign] | None:
    """The first file in an unpacked archive that is known here.

    Args:
        folder: of the archive.

    Returns:
        The file, or the folder itself, and what it is; None: nothing is known.
    """
    for place in (folder, *sorted(one for one in folder.iterdir() if one.is_dir())):
        if (found := _folder(place)) is not None:
            return place, found
        for file in sorted(one for one in place.iterdir() if one.is_file()):
            if (found := _file(file)) is not None:
                return file, found
    return None


def _file(path: Path) -> Foreign | None:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    marked = next((found for magic, found in _MAGIC if head.startswith(magic)), None)
    if marked is not None:
        return marked
    if _HTML.match(head):
        return HTML
    if head[4:6] == b"ET" and head[6:8].isdigit():
        return EXECUTORCH
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    if _is_safetensors(head, path.stat().st_size):
        return SAFETENSORS
    if _PICKLE.match(head):
        return TORCH_WEIGHTS if _TORCH_MAGIC in head[:64] else _SUFFIXES.get(path.suffix.lower(), PICKLE)
    if head.lstrip()[:1] == b"{":
        return _json(path)
    return _PROTOBUFS.get(kind_of(path) or "") or _SUFFIXES.get(path.suffix.lower())


def _is_safetensors(head: bytes, size: int) -> bool:
    if len(head) < 10 or head[8:9] != b"{":
        return False
    return 2 <= int.from_bytes(head[:8], "little") <= size - 8


def _zip(path: Path) -> Foreign | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError):
        return None
    last = {name.rpartition("/")[2] for name in names}
    if "data.pkl" in last:
        is_script = "constants.pkl" in last or any("/code/" in name for name in names)
        return TORCH_SCRIPT if is_script else TORCH_WEIGHTS
    if last & {"serialized_exported_program.json", "archive_format"}:
        return TORCH_EXPORT
    if names and all(name.endswith(".npy") for name in names):
        return ARRAYS
    return None


def _json(path: Path) -> Foreign | None:
    if path.stat().st_size > _JSON:
        # Too large for a description; the beginning shows a TensorFlow.js model.
        with path.open("rb") as file:
            return TFJS if b'"modelTopology"' in file.read(_HEAD) else None
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    if "modelTopology" in found or "weightsManifest" in found:
        return TFJS
    return KERAS_JSON if {"class_name", "config"} <= set(found) else None


def _folder(folder: Path) -> Foreign | None:
    names = {one.name for one in folder.iterdir()}
    if folder.suffix == ".mlmodelc" or "coremldata.bin" in names or _is_mlpackage(folder, names):
        return CORE_ML
    if "adapter_config.json" in names:
        return LORA
    if "model.json" in names and _json(folder / "model.json") is TFJS:
        return TFJS
    if "config.json" in names and names & {"model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"}:
        return TRANSFORMERS
    if any(name.endswith(".index") for name in names) and any(".data-" in name for name in names):
        return TF2_WEIGHTS
    return FLAX if names & {"_METADATA", "_CHECKPOINT_METADATA", "flax_model.msgpack"} else None


def _is_mlpackage(folder: Path, names: set[str]) -> bool:
    return folder.suffix == ".mlpackage" or ("Manifest.json" in names and (folder / "Data").is_dir())
