"""The native kernel behind `block_sums`: what NumPy needs eight passes for, in one.

The package's build compiles `block_kernel.c` (docs/decisions/0013). Where it could not, `load` gives None, and NumPy
does the same work four times slower.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

LIBRARY: Final = Path(__file__).with_name("libblock_kernel.dylib" if sys.platform == "darwin" else "libblock_kernel.so")
# NumPy's letters for the dtypes that the kernel reads, by the kernel's number.
KINDS: Final = {"f": 0, "b": 1, "B": 2, "h": 3, "H": 4}
_CLOSELY, _REFERENCE_ENDS, _CANDIDATE_ENDS = 1, 2, 4


class StoredValues(NamedTuple):
    """A tensor for the kernel: `values` (N,), contiguous, of a dtype in `KINDS`; real = scale * (values - zero)."""

    values: NDArray[np.generic]
    scale: float
    zero: int


class KernelSums(NamedTuple):
    """Sums over a sample, of reference a, candidate b and d = b - a, all real values.

    `ends` are least and greatest of a, then of b; infinite the wrong way round if they were not wanted.
    """

    squares: float
    largest: float
    products: float
    energy: float
    difference: float
    ends: tuple[float, float, float, float]
    channel_squares: NDArray[np.float64] | None


class Kernel(Protocol):
    """The kernel as a function."""

    def __call__(
        self,
        reference: StoredValues,
        candidate: StoredValues,
        *,
        closely: bool,
        ends: tuple[bool, bool],
        channels: int,
    ) -> KernelSums:
        """Sums over two tensors of one size.

        Args:
            reference: its tensor.
            candidate: its tensor.
            closely: also sum d a, sum a^2 and sum d; if not, they are 0.
            ends: whether to look for least and greatest of the reference, of the candidate.
            channels: size of the last dimension: also sum d^2 per channel; 0: not.

        Returns:
            In real units; d = candidate - reference, a = reference.
        """
        ...


@cache
def load() -> Kernel | None:
    """The kernel; None where the package was built without it."""
    try:
        function = ctypes.CDLL(str(LIBRARY)).block_sums
    except OSError:
        return None
    side = (ctypes.c_void_p, ctypes.c_int, ctypes.c_float, ctypes.c_float)
    function.argtypes = [
        *(*side, *side),
        *(ctypes.c_size_t, ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p),
    ]
    function.restype = None

    def kernel(
        reference: StoredValues,
        candidate: StoredValues,
        *,
        closely: bool,
        ends: tuple[bool, bool],
        channels: int,
    ) -> KernelSums:
        out = np.zeros(9)
        per_channel = np.zeros(channels) if channels else None
        wanted = _CLOSELY * closely | _REFERENCE_ENDS * ends[0] | _CANDIDATE_ENDS * ends[1]
        # ctypes lets other threads run meanwhile.
        function(
            *(reference.values.ctypes.data, KINDS[reference.values.dtype.char], reference.scale, reference.zero),
            *(candidate.values.ctypes.data, KINDS[candidate.values.dtype.char], candidate.scale, candidate.zero),
            *(reference.values.size, wanted, channels, out.ctypes.data),
            None if per_channel is None else per_channel.ctypes.data,
        )
        squares, largest, products, energy, difference, *found = out.tolist()
        low, high, other_low, other_high = found
        return KernelSums(
            squares, largest, products, energy, difference, (low, high, other_low, other_high), per_channel
        )

    return kernel
