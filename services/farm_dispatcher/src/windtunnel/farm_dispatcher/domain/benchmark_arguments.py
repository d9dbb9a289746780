"""What a cell asks for, as arguments of TensorFlow Lite's benchmark.

Flags are those of tensorflow/lite/tools/benchmark (benchmark_model and its delegate providers); scenarios are those of
the benchmark app's game loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from windtunnel.errors import Unsupported
from windtunnel.farm_dispatcher.domain.cells import Cell

# By the accelerator of a cell. For `cpu`, no delegate, XNNPACK is switched off: the runtime applies it by itself.
_FLAGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "cpu": ("--use_xnnpack=false",),
        "xnnpack": ("--use_xnnpack=true",),
        "gpu": ("--use_gpu=true",),
        "nnapi": ("--use_nnapi=true",),
        "hexagon": ("--use_hexagon=true",),
        "coreml": ("--use_coreml=true",),
    }
)
# (accelerator, threads); None: whatever the threads are.
_SCENARIOS: Final[Mapping[tuple[str, int | None], int]] = MappingProxyType(
    {
        ("cpu", 1): 1,
        ("cpu", 2): 2,
        ("cpu", 4): 3,
        ("xnnpack", 1): 4,
        ("xnnpack", 2): 5,
        ("xnnpack", 4): 6,
        ("gpu", None): 7,
        ("hexagon", None): 9,
        ("nnapi", None): 10,
    }
)


def benchmark_arguments(cell: Cell, graph: str) -> tuple[str, ...]:
    """The arguments of benchmark_model for a cell.

    Args:
        cell: what to run.
        graph: path of the model on the device.

    Returns:
        The arguments.

    Raises:
        Unsupported: the tool has no flag for the accelerator.
    """
    flags = _FLAGS.get(cell.accelerator)
    if flags is None:
        raise Unsupported(
            f"the benchmark has no flag for accelerator {cell.accelerator!r}", hint=f"it has {', '.join(_FLAGS)}"
        )
    return (
        f"--graph={graph}",
        f"--num_threads={cell.threads}",
        *flags,
        *_shapes(cell.input_shapes),
        "--report_peak_memory_footprint=true",
    )


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    if shapes:
        yield f"--input_layer={','.join(shapes)}"
        yield "--input_layer_shape=" + ":".join(",".join(map(str, shape)) for shape in shapes.values())


def game_loop_scenario(cell: Cell) -> int:
    """The scenario of the benchmark app's game loop for a cell.

    Args:
        cell: what to run.

    Returns:
        Its number.

    Raises:
        Unsupported: no scenario runs the accelerator with so many threads.
    """
    found = _SCENARIOS.get((cell.accelerator, cell.threads), _SCENARIOS.get((cell.accelerator, None)))
    if found is None:
        known = ", ".join(name if threads is None else f"{name} with {threads} threads" for name, threads in _SCENARIOS)
        raise Unsupported(
            f"the benchmark app has no scenario for {cell.accelerator} with {cell.threads} threads",
            hint=f"it has {known}",
        )
    return found
