"""What a recording as a whole does not have, in words: the same for edge.npz and edge logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from windtunnel.diagnosis.recording.edge_recording import Rows


def missing_parts(raw: Mapping[str, Rows], inputs: Mapping[str, Rows], outputs: Mapping[str, Rows]) -> Iterator[str]:
    """Sentences on raw samples, inputs and outputs that are not recorded.

    Args:
        raw: raw samples by input name.
        inputs: what reached the model.
        outputs: what it gave.

    Yields:
        A sentence for each that is empty.
    """
    if not raw:
        yield "no raw samples are recorded: the reference pipeline cannot be played back"
    if not inputs:
        yield "no inputs of the model are recorded: what reached it is not known"
    if not outputs:
        yield "no outputs of the model are recorded"
