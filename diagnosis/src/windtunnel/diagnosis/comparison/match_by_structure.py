"""Which layer of two files is which, as far as their graphs say: the same for a run and for its record."""

from __future__ import annotations

from pathlib import Path

from windtunnel.diagnosis.graph import Matching, match_layers
from windtunnel.diagnosis.static.choose_matching import simplest
from windtunnel.tflite import read_model, require_values


def matched_by_structure(reference: Path, candidate: Path) -> Matching:
    """The layers of two files that structure pairs.

    Args:
        reference: a .tflite file.
        candidate: a .tflite file.

    Returns:
        The matching.

    Raises:
        InvalidInput: a file is not a model, or the inputs cannot be paired.
        NotFound: a file does not exist.
    """
    facts = read_model(reference), read_model(candidate)
    for model in facts:
        require_values(model)
    return simplest(match_layers(*facts))
