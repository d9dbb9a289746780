"""Assertions of the user's own: a decorated Python function that looks at one frame.

from windtunnel.diagnosis.app_diagnosis.app_assertions import assertion

@assertion
def faces_are_upright(frame):
    assert frame.outputs["angle"] < 20, "turn the image by the camera's orientation"
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.findings import Finding
from windtunnel.diagnosis.recording.edge_recording import EdgeRecording, Rows
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.plain_text import clean

_MARK: Final = "_windtunnel_assertion"
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class EdgeFrame:
    """One frame of a recording, for assertions; arrays by name, "" for the only one.

    Attributes:
        number: of the frame in the recording, from 0.
        raw: raw samples.
        inputs: what reached the model.
        outputs: what the model gave.
        layers: output tensors of layers.
        postprocessed: what the app made of the outputs.
        reference: what the pipeline feeds, by input tensor; empty: not known.
        label: the truth; None: not known.
    """

    number: int
    raw: Mapping[str, Any]
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    layers: Mapping[str, NDArray[Any]]
    postprocessed: Mapping[str, NDArray[Any]]
    reference: Mapping[str, NDArray[Any]]
    label: Any = None

    @property
    def input(self) -> NDArray[Any]:
        """The only input."""
        return next(iter(self.inputs.values()))

    @property
    def output(self) -> NDArray[Any]:
        """The only output."""
        return next(iter(self.outputs.values()))


Check = Callable[[EdgeFrame], object]


def assertion(check: Check) -> Check:
    """Marks a function as an assertion.

    Args:
        check: is called with every frame. It raises AssertionError, or returns False, if the frame is wrong.

    Returns:
        The function.
    """
    setattr(check, _MARK, True)
    return check


def load_assertions(path: Path) -> list[Check]:
    """The assertions of a Python file, which is run.

    Args:
        path: the file.

    Returns:
        Its decorated functions, in their order.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it cannot be run, or has no assertion.
    """
    if not path.is_file():
        raise NotFound(f"there is no file of assertions at {path}")
    try:
        names = runpy.run_path(str(path))
    # A file of the user's may raise anything.
    except Exception as error:
        raise InvalidInput(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    found = [value for value in names.values() if callable(value) and getattr(value, _MARK, False)]
    if not found:
        raise InvalidInput(f"{path} has no assertion", hint="decorate a function with @assertion")
    return found


def failed_assertions(
    checks: Sequence[Check], recording: EdgeRecording, reference: Mapping[str, Sequence[NDArray[Any]]]
) -> tuple[Finding, ...]:
    """Runs assertions on every frame.

    Args:
        checks: the assertions.
        recording: of an app.
        reference: what the pipeline feeds, by input and frame.

    Returns:
        A finding for each assertion that fails.
    """
    failures: dict[str, list[tuple[int, str]]] = {}
    for frame in _frames(recording, reference) if checks else ():
        for check in checks:
            if (message := _failure(check, frame)) is not None:
                failures.setdefault(check.__name__, []).append((frame.number, message))
    return tuple(
        Finding(
            f"assertion.{clean(name)}",
            f"the assertion {clean(name)} fails in {len(found)} of {recording.count} frames, first in frame "
            f"{found[0][0]}: {found[0][1]}",
            "",
            {"frames": [number for number, _ in found], "message": found[0][1]},
        )
        for name, found in failures.items()
    )


def _failure(check: Check, frame: EdgeFrame) -> str | None:
    try:
        return "it returned False" if check(frame) is False else None
    except AssertionError as error:
        return clean(str(error))[:_LONGEST] or "it is not true"
    # An assertion that cannot be run has failed, and says why.
    except Exception as error:  # noqa: BLE001
        return clean(f"{type(error).__name__}: {error}")[:_LONGEST]


def _frames(recording: EdgeRecording, reference: Mapping[str, Sequence[NDArray[Any]]]) -> Iterator[EdgeFrame]:
    places = range(recording.count) if recording.layer_frames is None else recording.layer_frames.tolist()
    layer_of = {number: place for place, number in enumerate(places)}
    for number in range(recording.count):
        layers = _rows(recording.layers, layer_of[number]) if number in layer_of else {}
        yield EdgeFrame(
            number,
            _rows(recording.raw, number),
            _rows(recording.inputs, number),
            _rows(recording.outputs, number),
            layers,
            _rows(recording.postprocessed, number),
            {name: rows[number] for name, rows in reference.items()},
            None if recording.labels is None else recording.labels[number],
        )


def _rows(named: Mapping[str, Rows], number: int) -> dict[str, Any]:
    return {name: np.asarray(rows[number]) for name, rows in named.items()}
