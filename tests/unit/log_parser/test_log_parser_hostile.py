"""Time on hostile input grows with its length only."""

from __future__ import annotations

import time

import pytest

from windtunnel.log_parser import parse_log

MEGABYTE = 1 << 20
SHAPES = {
    "one line": b"a" * MEGABYTE,
    "one line of spaces": b" " * MEGABYTE,
    "one count line": b"count=1 " + b"avg=1 " * (MEGABYTE // 6),
    "digits": b"count=" + b"9" * MEGABYTE,
    "equals signs": (b"=" * 16_000 + b"\n") * 65,
    "spaces before nothing": (b"Warmup (avg):" + b" " * 16_000 + b"x\n") * 65,
    "brackets": (b"Graph: [" * 2_000 + b"\n") * 65,
    "words": (b"Explicitly applied " + b"a " * 8_000 + b"\n") * 65,
    "dates": (b"07-14 13:14:52.097 " * 800 + b"\n") * 65,
    "failures": (b"benchmark" * 1_700 + b" failed error memory delegate\n") * 65,
    "table": b"STARTING!\n" + b"===== Run Order =====\n[node type] [first] [Name]\n" + (b"1 " * 8_000 + b"\n") * 65,
    "short lines": b"Use gpu: [1]\nxyz\n" * (MEGABYTE // 17),
    "runs": b"STARTING!\nLoaded model x\n" * (MEGABYTE // 25),
    "refused": b"STARTING!\nFollowing operations are not supported by GPU delegate:\n"
    + b"".join(b"OP%d: no\n" % i for i in range(80_000)),
    "phases": b"STARTING!\n" + b"".join(b"Running benchmark for at least %d\n" % i for i in range(20_000)),
    "errors": b"STARTING!\n" + b"".join(b"ERROR: bad %d\n" % i for i in range(60_000)),
}


@pytest.mark.heavy
@pytest.mark.parametrize("shape", SHAPES)
def test_time_is_linear(shape: str) -> None:
    data = SHAPES[shape]
    began = time.perf_counter()
    parse_log(data)
    # A second for a megabyte is ten times what it takes; quadratic behavior takes minutes.
    assert time.perf_counter() - began < 8
