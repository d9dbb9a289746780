"""Options of custom ops by name; bytes that are not a map of plain values stay bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers

from windtunnel.diagnosis.graph.custom_options import BYTES, custom_options
from windtunnel.tflite import OpFacts

PLAIN: dict[str, Any] = {"classes": 3, "scale": 0.5, "regular": True, "mode": "fast"}


def _op(data: bytes) -> OpFacts:
    return OpFacts(0, "Custom", 1, True, (0,), (1,), {"custom_options": data})


def test_a_map_is_read_by_name() -> None:
    assert custom_options(_op(bytes(flexbuffers.Dumps(PLAIN)))) == PLAIN


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", bytes(flexbuffers.Dumps(7)), bytes(flexbuffers.Dumps({"a": {"b": 1}})), b"\xff" * 5000],
    ids=["nothing", "zero", "a number", "a nested map", "too long"],
)
def test_anything_else_stays_as_it_is(data: bytes) -> None:
    assert custom_options(_op(data)) == {BYTES: data}


def test_damaged_bytes_do_no_harm() -> None:
    draw, whole = np.random.default_rng(0), bytes(flexbuffers.Dumps(PLAIN))
    for _ in range(3000):
        data = bytearray(whole)
        for at in draw.integers(0, len(data), 3):
            data[at] = draw.integers(0, 256)
        assert isinstance(custom_options(_op(bytes(data))), dict)
        assert isinstance(custom_options(_op(draw.bytes(int(draw.integers(1, 60))))), dict)
