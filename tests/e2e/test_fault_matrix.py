"""A part of the fault matrix: causes and places are named, clean pairs left alone. In full: benchmarks/diagnosis."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import pytest

from support.architectures import architecture
from support.fault_files import File
from support.fault_rewrites import REWRITES
from support.fault_runs import difference, known_outputs, outputs
from support.faults import Spec, kinds, make, plan
from windtunnel.isolation import ChildPool

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURES = ("conv", "mobile")
# What each of these does to a trained network is far beyond rounding.
KINDS = (
    "noise_20", "permute_out", "permute_in", "bias_zero", "sign", "zero_channel", "bit_exponent_high", "relu_dropped",
    "add_to_sub", "max_to_average", "dilation", "weight_scale", "scale_with_bias", "samples_x0.1", "per_tensor_dead",
)  # fmt: skip

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module", autouse=True)
def benchmarks_importable() -> Iterator[None]:
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


def _chosen() -> list[Spec]:
    found = [spec for name in ARCHITECTURES for spec in plan(name)]
    faults = [spec for spec in found if spec.kind in KINDS and spec.form in ("float32", "int8")]
    return [spec for spec in found if spec.stage == "clean"] + [spec for spec in faults if spec.stage != "crossed"]


@pytest.mark.timeout(600)
async def test_causes_and_places_are_named_and_clean_pairs_are_left_alone() -> None:
    from benchmarks.diagnosis.matrix import run_all

    outcomes = await run_all(_chosen(), jobs=2)
    clean = [one for one in outcomes if one.visibility == "healthy"]
    visible = [one for one in outcomes if one.visibility == "visible"]
    assert len(clean) > 60
    assert len(visible) > 45
    assert [one.line() for one in outcomes if one.error] == []
    assert [one.line() for one in clean if not one.right] == []
    assert [one.line() for one in visible if not one.right] == []


def test_every_rewrite_computes_the_same(tmp_path: Path) -> None:
    done = set()
    for name in ARCHITECTURES:
        source = architecture(name)
        before = known_outputs(source.float32, source.samples)
        for kind, rewrite in REWRITES.items():
            file = File(source.float32)
            if rewrite(file, np.random.default_rng(1)):
                after = outputs(file.write(tmp_path / f"{name}_{kind}.tflite"), source.samples)
                assert difference(before, after) < 1e-6, (name, kind)
                done.add(kind)
    assert done == set(REWRITES)


def test_a_fault_changes_nothing_before_its_place(tmp_path: Path) -> None:
    source = architecture("mobile")
    clean = File(source.float32)
    for kind in ("noise_20", "bias_zero", "relu6_dropped", "add_to_sub"):
        file = File(source.float32)
        hit = kinds("float32", "after")[kind](file, np.random.default_rng(2))
        assert hit is not None
        place = min(number for number, op in enumerate(file.ops) if set(hit.tensors) & set(map(int, op.outputs)))
        changed = [
            number
            for number, (one, other) in enumerate(zip(clean.ops, file.ops, strict=True))
            if not _same(clean, one, file, other)
        ]
        assert changed == [place], kind


def _same(clean: File, one: object, file: File, other: object) -> bool:
    """Whether two ops are of one kind, with equal options and constants."""
    if clean.kind(one) != file.kind(other) or vars(one)["builtinOptionsType"] != vars(other)["builtinOptionsType"]:
        return False
    options = [vars(found)["builtinOptions"] for found in (one, other)]
    if None not in options and vars(options[0]) != vars(options[1]):
        return False
    positions = range(len(vars(one)["inputs"]))
    constants = [(clean.constant_of(one, place), file.constant_of(other, place)) for place in positions]
    return all(a < 0 or np.array_equal(clean.array(a), file.array(b)) for a, b in constants)


async def test_a_case_is_the_same_every_time_and_in_every_process(tmp_path: Path) -> None:
    name = "conv/int8/noise_20/after/0"
    folders = [tmp_path / side for side in ("here", "there")]
    for folder in folders:
        folder.mkdir()
    here = make(name, folders[0])
    async with ChildPool(timeout_s=120, memory_mb=4000) as pool:
        there = await pool.run(make, name, folders[1], Path(gettempdir()))
    assert here is not None
    assert there is not None
    assert here.candidate.read_bytes() == there.candidate.read_bytes()
    assert (here.layers, here.op_indices, here.codes) == (there.layers, there.op_indices, there.codes)
    assert here.effect > 0
