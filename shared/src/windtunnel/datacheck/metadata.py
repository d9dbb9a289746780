"""What TFLite metadata says of a model's inputs: normalization and observed values.

Schema: https://github.com/tensorflow/tflite-support/blob/master/tensorflow_lite_support/metadata/metadata_schema.fbs
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from windtunnel.errors import WindtunnelError
from windtunnel.tflite.facts import ModelFacts
from windtunnel.tflite.flat import Malformed, Source, Table

NAME: Final = "TFLITE_METADATA"
# Slots of the tables, by the order of their fields: 4 + 2 * index.
_SUBGRAPHS, _INPUTS, _UNITS, _STATS = 10, 8, 12, 14
_OPTION_TYPE, _OPTIONS, _NORMALIZATION = 4, 6, 1


@dataclass(frozen=True, slots=True)
class InputMetadata:
    """Of one input: `mean` and `std` with which raw values are normalized; `low` and `high` of the normalized ones.

    Empty and None: not said.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None


def input_metadata(model: ModelFacts) -> list[InputMetadata]:
    """Metadata of the inputs.

    Args:
        model: the facts of its file.

    Returns:
        In the model's order; empty without metadata, or if it cannot be read.
    """
    if NAME not in model.metadata:
        return []
    try:
        graphs = list(Table.root(Source(model.metadata_bytes(NAME))).tables(_SUBGRAPHS))
        return [_input(table) for table in graphs[0].tables(_INPUTS)] if graphs else []
    except (Malformed, WindtunnelError, struct.error, ValueError):
        # Runtimes do not read it: damaged metadata harms nobody but us.
        return []


def _input(table: Table) -> InputMetadata:
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    for unit in table.tables(_UNITS):
        options = unit.table(_OPTIONS)
        if unit.number(_OPTION_TYPE, "B") == _NORMALIZATION and options is not None:
            mean, std = tuple(options.numbers(4, "f4")), tuple(options.numbers(6, "f4"))
    stats = table.table(_STATS)
    high = stats.numbers(4, "f4") if stats is not None else []
    low = stats.numbers(6, "f4") if stats is not None else []
    return InputMetadata(mean, std, min(low, default=None), max(high, default=None))
