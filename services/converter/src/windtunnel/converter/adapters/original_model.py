"""What every format of a trained model becomes: a function to convert, and a way to run the original."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from windtunnel.converter.domain.conversion import Port
from windtunnel.datacheck.findings import Finding
from windtunnel.errors import InvalidInput

Arrays = Mapping[str, NDArray[Any]]

# Characters of a reason; longer ones lose their middle, never their end, which says why.
_MOST: Final = 600
_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*\Z")
_CONFIG = re.compile(r"(using config|Full object config: |config)\s*[=:]?\s*\{.*\}\.?", re.DOTALL)
_SITE = re.compile(r'File "[^"]*", line \d+, in \S+')
_RAISED = re.compile(r"^\w+(Error|Exception|Warning): ")


@dataclass(frozen=True)
class Original:
    """A loaded model: `function` is what is converted, `run` takes and gives arrays by port name.

    `keep` must live as long as `function`. `findings` say what was changed to get there.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    function: Any
    run: Callable[[Arrays], Arrays]
    keep: Any = None
    findings: tuple[Finding, ...] = ()


def port(name: str, spec: Any) -> Port:
    """An input from a tensor or its spec.

    Args:
        name: of the input.
        spec: has shape and dtype.

    Returns:
        The input.

    Raises:
        InvalidInput: its rank is not known.
    """
    if spec.shape.rank is None:
        raise InvalidInput(f"input {name!r} has no known rank", hint="export the model with a fixed input shape")
    return Port(name, tuple(-1 if size is None else int(size) for size in spec.shape), spec.dtype.name)


def frozen(function: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """A function with its variables as constants, so that batch norm folds and nothing is left to initialize.

    Freezing forgets names and dict keys. The result takes `inputs` and gives a dict by `outputs`, both in the order of
    the function's own, so that the signature of the .tflite has them.

    Args:
        function: a concrete function.
        inputs: names.
        outputs: names.

    Returns:
        A concrete function.
    """
    constant = convert_variables_to_constants_v2(function)

    def call(*tensors: Any) -> dict[str, Any]:
        return dict(zip(outputs, tf.nest.flatten(constant(*tensors)), strict=True))

    specs = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=name if _NAME.match(name) else None)
        for name, tensor in zip(inputs, constant.inputs, strict=True)
    ]
    return tf.function(call, autograph=False).get_concrete_function(*specs)


def reason(error: BaseException) -> str:
    """What an error of TensorFlow or Keras says, without its dumps of configurations and call sites.

    Args:
        error: of any kind.

    Returns:
        One line.
    """
    said = _CONFIG.sub("", str(error))
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    raised = [place for place, line in enumerate(lines) if _RAISED.match(line)]
    if raised and any(_SITE.search(line) for line in lines):
        # A traceback within a message: what was raised stands last.
        lines = lines[raised[-1] :]
    text = " ".join(line for line in lines if not _SITE.search(line))
    kind = type(error).__name__
    whole = text if text.startswith(kind) else f"{kind}: {text}"
    return whole if len(whole) <= _MOST else f"{whole[: _MOST // 3]} ... {whole[-(_MOST * 2 // 3) :]}"


def as_dtype(array: NDArray[Any], wanted: Port) -> NDArray[Any]:
    """A sample in the dtype of an input.

    Args:
        array: the sample.
        wanted: the input.

    Returns:
        Contiguous.
    """
    return np.ascontiguousarray(array, dtype=np.dtype(wanted.dtype))
