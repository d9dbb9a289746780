"""Types of tensors by what models store in them: one table, whoever asks."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

# Bits and signedness of the integer types that NumPy lacks.
PACKED: Final = {"int4": (4, True), "uint4": (4, False), "int2": (2, True)}
# Integers of quantized activations.
ACTIVATION_DTYPES: Final = frozenset({"int8", "uint8", "int16"})
# Integers of one byte.
BYTE_DTYPES: Final = frozenset({"int8", "uint8"})
# Integers of quantized weights.
WEIGHT_DTYPES: Final = BYTE_DTYPES | PACKED.keys()
# Integers in which a quantized model stores weights and activations; int32 and int64 hold biases and indices.
INTEGER_DTYPES: Final = WEIGHT_DTYPES | ACTIVATION_DTYPES
# Integers of biases, indices and counts.
COUNT_DTYPES: Final = frozenset({"int32", "int64"})
# Floating point of half the width.
HALF_DTYPES: Final = frozenset({"float16", "bfloat16"})
# They have no numbers.
NOT_VALUES: Final = frozenset({"resource", "variant", "string"})


def bits_of(dtype: str) -> int:
    """The bits of one value.

    Args:
        dtype: TFLite's name of the type, for example "int4".

    Returns:
        0 for types without a fixed size, such as string.
    """
    if dtype == "bool":
        return 8
    found = re.match(r"[a-z]+(\d+)", dtype)
    return int(found[1]) if found else 0


def integer_limits(dtype: str) -> tuple[int, int]:
    """The smallest and the largest value of an integer type.

    Args:
        dtype: TFLite's name of the type, for example "int4".

    Returns:
        (least, most).
    """
    if dtype in PACKED:
        bits, is_signed = PACKED[dtype]
        least = -(1 << (bits - 1)) if is_signed else 0
        return least, least + (1 << bits) - 1
    limits = np.iinfo(np.dtype(dtype))
    return int(limits.min), int(limits.max)
