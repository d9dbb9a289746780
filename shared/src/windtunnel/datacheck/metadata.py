"""What TFLite metadata says of a model: of its inputs normalization, observed values and content; its files.

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
_SUBGRAPHS, _INPUTS, _OUTPUTS, _GRAPH_UNITS, _CONTENT, _UNITS, _STATS, _FILES = 10, 8, 10, 14, 10, 12, 14, 16
_OPTION_TYPE, _OPTIONS, _NORMALIZATION, _BERT_TOKENIZER = 4, 6, 1, 4
_IMAGE, _AUDIO, _GRAY = 2, 4, 2
# Types of associated files: names of classes along an axis, or of values.
_LABELS: Final = (2, 3)


@dataclass(frozen=True, slots=True)
class InputMetadata:
    """Of one input: `mean` and `std` with which raw values are normalized; `low` and `high` of the normalized ones.

    Empty and None: not said. `is_image`, `is_gray` and `sample_rate_hz` are what it says of the content.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None
    is_image: bool = False
    is_gray: bool = False
    sample_rate_hz: int | None = None


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """Names of the files that metadata refers to: of a tokenizer's vocabulary, and of labels. Empty: none."""

    vocabularies: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


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
    return InputMetadata(mean, std, min(low, default=None), max(high, default=None), *_content(table))


def _content(table: Table) -> tuple[bool, bool, int | None]:
    """Whether it is an image, whether that is gray, and the sample rate of audio."""
    content = table.table(_CONTENT)
    properties = content.table(6) if content is not None else None
    if content is None or properties is None:
        return False, False, None
    kind = content.number(4, "B")
    rate = properties.number(4, "I") if kind == _AUDIO else 0
    return kind == _IMAGE, kind == _IMAGE and properties.number(4, "b") == _GRAY, rate or None


def named_files(model: ModelFacts) -> NamedFiles:
    """The files that the metadata of a model refers to. A ZIP archive at the end of its file holds them.

    Args:
        model: the facts of its file.

    Returns:
        Their names; none without metadata, or if it cannot be read.
    """
    if NAME not in model.metadata:
        return NamedFiles()
    try:
        graphs = list(Table.root(Source(model.metadata_bytes(NAME))).tables(_SUBGRAPHS))
        return _files(graphs[0]) if graphs else NamedFiles()
    except (Malformed, WindtunnelError, struct.error, ValueError):
        return NamedFiles()


def _files(graph: Table) -> NamedFiles:
    units = [*graph.tables(_GRAPH_UNITS)]
    for tensor in graph.tables(_INPUTS):
        units += tensor.tables(_UNITS)
    tokenizers = [
        options
        for unit in units
        if unit.number(_OPTION_TYPE, "B") == _BERT_TOKENIZER and (options := unit.table(_OPTIONS)) is not None
    ]
    vocabularies = [file.text(4) for options in tokenizers for file in options.tables(4)]
    labels = [
        file.text(4)
        for tensor in graph.tables(_OUTPUTS)
        for file in tensor.tables(_FILES)
        if file.number(8, "b") in _LABELS
    ]
    return NamedFiles(tuple(dict.fromkeys(vocabularies)), tuple(dict.fromkeys(labels)))
