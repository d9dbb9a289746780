"""Which names a file of Keras 2 may look up: its loader imports what the file says, and nobody trusts the file."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from typing import Any, Final

from windtunnel.converter.domain.conversion import Source
from windtunnel.converter.formats.keras_config import CODE_HINT, KerasConfig
from windtunnel.errors import InvalidInput

# Where Keras has its layers, and what layers are made of.
_PARTS: Final = (
    "layers|activations|initializers|regularizers|constraints|losses|metrics|optimizers|models|engine|mixed_precision"
    "|feature_column"
)
_MODULE: Final = re.compile(
    rf"(tf_)?keras(\.src)?(\.({_PARTS})(\.\w+)*)?|tensorflow\.(python\.)?keras\.({_PARTS})(\.\w+)*"
)
# Functions of TensorFlow that a layer's activation may be.
_FUNCTIONS: Final = re.compile(r"tensorflow\.python\.ops\.(gen_)?(nn|math|array)(_ops|_impl)")
# TensorFlow's functions that read or write files, load code or call Python.
_OUTSIDE: Final = re.compile(
    r"((.*\.)?(io|raw_ops|saved_model|data|train|summary|lookup|queue|distribute|config|profiler|test)\..*"
    r"|(.*\.)?(py_func|py_function|numpy_function|function|load_\w+|print|(read|write)_file|matching_files|import_\w+))\Z"
)
_OUTSIDE_OP: Final = re.compile(
    r"(Eager|Stateless)?PyFunc(Stateless)?|.*(File|Files|Dataset|DatasetV\d|Summary|Reader|Restore|Save|Call|Filename)"
    r"(V\d)?|Print(V\d)?|(Restore|Save|Remote|Rpc|Send|Recv|_Send|_Recv|XlaLaunch|Load).*"
)


def require_own_names(config: KerasConfig, source: Source) -> None:
    """Refuses a file whose loading would use anything other than parts of layers.

    Args:
        config: of the file.
        source: the file.

    Raises:
        InvalidInput: it would.
    """
    foreign = sorted(set(_foreign(config)))
    if foreign:
        raise InvalidInput(
            f"{source.name} takes {', '.join(foreign[:5])}: these are not parts of Keras layers",
            hint=CODE_HINT,
            code="custom_layer",
        )


def _foreign(config: KerasConfig) -> Iterator[str]:
    for found in config.objects():
        kind, inner = str(found.get("class_name")), found.get("config")
        module = found.get("module")
        name = str(inner) if kind == "function" and isinstance(inner, str) else kind
        if module and not _is_part(str(module), name, is_function=kind == "function"):
            yield f"{name} of {module}"
        settings = inner if isinstance(inner, dict) else {}
        symbol = settings.get("function") or settings.get("symbol") or settings.get("cls_symbol")
        if kind in ("TFOpLambda", "ClassMethod") and (not isinstance(symbol, str) or _OUTSIDE.match(symbol)):
            yield f"tf.{symbol}"
        if kind == "TensorFlowOpLayer" and _OUTSIDE_OP.fullmatch(_op_of(settings.get("node_def"))):
            yield f"op {_op_of(settings.get('node_def'))}"


def _is_part(module: str, name: str, *, is_function: bool) -> bool:
    """A name with a dot reaches through a module into what that imports."""
    if "." in name:
        return False
    if module == "builtins":
        # Keras 2 writes the functions of its own modules so; what it does not find there, it takes from Python.
        return is_function and not hasattr(builtins, name)
    return _MODULE.fullmatch(module) is not None or (is_function and _FUNCTIONS.fullmatch(module) is not None)


def _op_of(node: Any) -> str:
    """The op of a node, which is a dict, or JSON text of one."""
    if isinstance(node, dict):
        return str(node.get("op"))
    found = re.search(r'"op"\s*:\s*"(\w+)"', str(node))
    return "File" if found is None else found.group(1)
