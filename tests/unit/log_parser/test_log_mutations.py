"""Thousands of damaged logs: the parser never fails, and states no figure that the damaged log does not have."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from windtunnel import schemas
from windtunnel.log_parser import parse_log

HERE = Path(__file__).parent
VALIDATOR = jsonschema.Draft202012Validator(schemas.load("log"))
_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,4}(?!\d))?", re.ASCII)
# Times are printed in ns, us, ms and s, and stated in us.
_SCALES = tuple(Decimal(scale) for scale in ("1", "1000", "1000000", "0.001"))
# In words: "No operations will run on the GPU".
_IN_WORDS = {"No operations will run on the": Decimal(0)}

Mutation = Callable[[random.Random, bytes], bytes]


@cache
def seeds() -> tuple[bytes, ...]:
    logs = [path.read_bytes() for path in sorted((HERE / "logs").glob("*.txt"))]
    return (*logs, *(case["log"].encode() for case in yaml.safe_load((HERE / "reports.yaml").read_text())))


def _lines(change: Callable[[random.Random, list[bytes]], list[bytes]]) -> Mutation:
    return lambda rng, data: b"\n".join(change(rng, data.split(b"\n")))


def _dropped(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if rng.random() > 0.1]


def _doubled(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    return [line for line in lines for _ in range(1 + (rng.random() < 0.2))]


def _shuffled(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    at = rng.randrange(len(lines))
    piece = lines[at : at + 8]
    rng.shuffle(piece)
    return lines[:at] + piece + lines[at + 8 :]


def _cut_lines(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    return [line[: rng.randrange(len(line) + 1)] if rng.random() < 0.1 else line for line in lines]


def _joined(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    at = rng.randrange(len(lines))
    return [*lines[:at], b"".join(lines[at : at + 3]), *lines[at + 3 :]]


def _interleaved(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    other = rng.choice(seeds()).split(b"\n")
    mixed: list[bytes] = []
    while lines or other:
        source = lines if lines and (not other or rng.random() < 0.5) else other
        mixed.append(source.pop(0))
    return mixed


def _prefixed(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    pids = [rng.randrange(1, 30000) for _ in range(rng.choice((1, 1, 2)))]
    stamps = (f"07-14 13:14:52.097 {rng.choice(pids):5d} {rng.choice(pids):5d} I tflite  : ".encode() for _ in lines)
    return [stamp + line for stamp, line in zip(stamps, lines, strict=True)]


def _cut(rng: random.Random, data: bytes) -> bytes:
    begin, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return data[begin:end]


def _bytes_changed(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 30)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _digits_changed(rng: random.Random, data: bytes) -> bytes:
    return re.sub(rb"\d", lambda found: b"%d" % rng.randrange(10) if rng.random() < 0.2 else found[0], data)


def _signs_changed(rng: random.Random, data: bytes) -> bytes:
    old, new = rng.choice(b"=:[]().,-_ \n\t"), rng.choice(b"=:[]().,-_ \n\t0e")
    return data.replace(bytes([old]), bytes([new]), rng.randrange(1, 20))


def _text_put_in(rng: random.Random, data: bytes) -> bytes:
    odd = (b"\0", b"\xff\xfe", b"9" * 400, b"1e999", b"nan", b"-", b"\r", "٣".encode(), b"x" * 20_000, b"{", b'"')
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(odd) + data[at:]


MUTATIONS: tuple[Mutation, ...] = (
    *map(_lines, (_dropped, _doubled, _shuffled, _cut_lines, _joined, _interleaved, _prefixed)),
    _cut,
    _bytes_changed,
    _digits_changed,
    _signs_changed,
    _text_put_in,
)


def mutated(seed: int) -> bytes:
    """A damaged log; the same for the same seed."""
    rng = random.Random(seed)
    data = rng.choice(seeds())
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(MUTATIONS)(rng, data)
    return data


def figures(value: Any) -> Iterator[float]:
    """All numbers of a result."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from figures(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def printed(data: bytes) -> set[float]:
    """All numbers of a log, in each unit in which they may be stated."""
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
    literals = {Decimal(found) for found in _NUMBER.findall(text) if len(found) < 300}
    literals |= {number for words, number in _IN_WORDS.items() if words in text}
    small = [literal for literal in literals if abs(literal.adjusted()) < 300]
    return {float(literal * scale) for literal in small for scale in _SCALES}


def check(seed: int) -> None:
    data = mutated(seed)
    document = parse_log(data).to_json()
    VALIDATOR.validate(document)
    json.dumps(document, allow_nan=False)
    known = printed(data)
    invented = [figure for figure in figures(document["runs"]) if abs(figure) not in known]
    assert not invented, (seed, invented)


@pytest.mark.parametrize("block", range(20))
def test_damaged_logs(block: int) -> None:
    for seed in range(block * 10, block * 10 + 10):
        check(seed)


@pytest.mark.heavy
@pytest.mark.parametrize("block", range(20))
def test_ten_thousand_damaged_logs(block: int) -> None:
    for seed in range(1000 + block * 500, 1000 + block * 500 + 500):
        check(seed)


def test_the_check_finds_an_invented_figure() -> None:
    assert 12345.0 not in printed(b"count=1 avg=1234\n")
    assert {1234.0, 1234000.0} <= printed(b"count=1 avg=1234\n")
