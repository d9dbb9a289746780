"""Formats of trained models. Imports nothing else: the command line lists them in its help."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Format(Enum):
    """How a trained model is stored."""

    SAVED_MODEL = "saved_model"
    KERAS = "keras"
    HDF5 = "hdf5"
    FROZEN_GRAPH = "frozen_graph"
    CHECKPOINT = "checkpoint"
    TORCH = "torch"
    TFLITE = "tflite"


FORMATS: Final = tuple(item.value for item in Format)
