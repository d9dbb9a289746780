"""Streaming both models over samples: figures, flat memory, interrupting and continuing, logs of the layers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from support.graphs import DenseWeights, GraphWriter, dense_model
from windtunnel.diagnosis.execution.checkpoint import Checkpoint
from windtunnel.diagnosis.execution.histograms import histograms
from windtunnel.diagnosis.execution.output_sums import OutputSums
from windtunnel.diagnosis.execution.run_samples import Models, ahead_of, sum_samples
from windtunnel.diagnosis.feeding.paired_inputs import feed
from windtunnel.diagnosis.graph import Matching, Pair, match_layers
from windtunnel.diagnosis.layer_log.log_file import LayerLog, LogWriter
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures, LayerSums
from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Feed
from windtunnel.tflite import Runner


@dataclass
class Comparing:
    """Two models, their samples, and what a comparison needs of them."""

    models: Models
    matching: Matching
    given: Feed
    outputs: OutputSums

    @classmethod
    def of(cls, reference: Path, candidate: Path, samples: Path) -> Comparing:
        models = Models(*(Runner(path, preserve_all=True) for path in (reference, candidate)))
        facts = models.reference.facts, models.candidate.facts
        given = feed(samples, None, *facts)
        return cls(models, match_layers(*facts), given, OutputSums(*facts, given.labels))

    def stream(self, given: Feed | None = None, **settings: Any) -> list[LayerFigures]:
        return sum_samples(self.models, given or self.given, self.matching.pairs, self.outputs, **settings).figures()


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    weights = DenseWeights.random()
    return dense_model(tmp_path / "candidate.tflite", replace(weights, first=weights.first * np.float32(1.02)))


@pytest.fixture
def comparing(dense: Path, candidate: Path, samples: Path) -> Comparing:
    return Comparing.of(dense, candidate, samples)


def test_figures_are_those_of_plain_numpy_over_all_samples(comparing: Comparing, samples: Path) -> None:
    found = comparing.stream()
    x = np.load(samples)["x"].astype(np.float64)
    weights = DenseWeights.random()
    first = [np.maximum(x @ w.T.astype(np.float64), 0) for w in (weights.first, weights.first * np.float32(1.02))]
    expected = np.sqrt(((first[1] - first[0]) ** 2).mean()) / max(np.ptp(first[0]), np.ptp(first[1]))
    assert found[0].nrmse == pytest.approx(expected, rel=1e-5)
    assert found[0].values["bias"] == pytest.approx((first[1] - first[0]).mean(), rel=1e-4)
    assert [one.samples for one in found] == [40] * 4
    assert comparing.outputs.result().agreement is not None


def test_the_limit_is_kept(comparing: Comparing) -> None:
    assert {one.samples for one in comparing.stream(limit=7)} == {7}
    with pytest.raises(InvalidInput, match="0 samples"):
        comparing.stream(limit=0)


def test_layers_laid_out_otherwise_are_compared_in_one_order(tmp_path: Path) -> None:
    """Reference NHWC; candidate with the same RELU between two transposes."""
    writer = GraphWriter()
    source, output = writer.tensor("x", (1, 2, 3, 4)), writer.tensor("y", (1, 2, 3, 4))
    writer.op("RELU", [source], [output])
    reference = writer.write(tmp_path / "a.tflite", [source], [output])
    writer = GraphWriter()
    source, output = writer.tensor("x", (1, 2, 3, 4)), writer.tensor("y", (1, 2, 3, 4))
    turned, inside = writer.tensor("t", (1, 4, 2, 3)), writer.tensor("r", (1, 4, 2, 3))
    there, back = (
        writer.tensor(n, (4,), "int32", data=np.array(p)) for n, p in (("p", [0, 3, 1, 2]), ("q", [0, 2, 3, 1]))
    )
    writer.op("TRANSPOSE", [source, there], [turned], schema.TransposeOptionsT())
    writer.op("RELU", [turned], [inside])
    writer.op("TRANSPOSE", [inside, back], [output], schema.TransposeOptionsT())
    candidate = writer.write(tmp_path / "b.tflite", [source], [output])
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(1).normal(size=(5, 2, 3, 4)).astype(np.float32))
    comparing = Comparing.of(reference, candidate, tmp_path / "x.npz")
    found = comparing.stream()
    assert [(pair.reference.op, pair.candidate.op) for pair in comparing.matching.pairs][:1] == [("RELU", "RELU")]
    assert [(one.rmse, one.problem) for one in found] == [(0.0, None)] * len(found)


def _size(state: dict[str, NDArray[Any]]) -> int:
    return sum(array.nbytes for array in state.values())


def test_what_a_layer_holds_does_not_grow_over_a_thousand_samples() -> None:
    draw = np.random.default_rng(1)
    sums, sizes = LayerSums(), []
    for number in range(1000):
        a = draw.normal(size=(1, 4, 4, 8)).astype(np.float32)
        sums.add(a, a + np.float32(0.01))
        if number in (0, 999):
            sizes.append(_size(sums.state()))
    assert sizes[0] == sizes[1] < 1000


class Interrupted(Exception):
    """Ctrl-C, as a feed."""


class Breaking:
    """A feed that breaks off before sample `at`."""

    def __init__(self, given: Feed, at: int) -> None:
        self._given = given
        self._at = at
        self.count = given.count
        self.labels = given.labels

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        for number, inputs in enumerate(self._given):
            if number == self._at:
                raise Interrupted
            yield inputs


@pytest.mark.parametrize("at", [1, 17, 39])
def test_an_interrupted_run_goes_on_bit_for_bit(
    tmp_path: Path, dense: Path, candidate: Path, samples: Path, at: int
) -> None:
    whole = Comparing.of(dense, candidate, samples)
    expected = whole.stream()
    checkpoint = Checkpoint(tmp_path / "at.npz", "key", every_s=0.0)
    first = Comparing.of(dense, candidate, samples)
    with pytest.raises(Interrupted):
        first.stream(Breaking(first.given, at), checkpoint=checkpoint)
    loaded = checkpoint.load()
    assert loaded is not None
    assert loaded[0] == at
    second = Comparing.of(dense, candidate, samples)
    assert second.stream(checkpoint=checkpoint) == expected
    assert checkpoint.note is None
    assert second.outputs.result() == whole.outputs.result()
    # A complete one is not run again: the feed would break at once.
    third = Comparing.of(dense, candidate, samples)
    assert third.stream(Breaking(third.given, 40), checkpoint=checkpoint) == expected
    checkpoint.discard()
    assert not checkpoint.path.exists()


@pytest.mark.parametrize("samples_of", [1, 2, 40])
def test_running_ahead_changes_no_figure_and_no_log(
    tmp_path: Path, dense: Path, candidate: Path, samples: Path, samples_of: int
) -> None:
    found = []
    for name in ("in turn", "ahead"):
        comparing = Comparing.of(dense, candidate, samples)
        ahead = Models(*(one.twin() for one in comparing.models)) if name == "ahead" else None
        with LogWriter(tmp_path / name, comparing.models.candidate) as writer:
            figures = comparing.stream(limit=samples_of, logs=(None, writer), ahead=ahead)
        found.append((figures, comparing.outputs.result(), (tmp_path / name).read_bytes()))
    assert found[0] == found[1]


def test_running_ahead_breaks_off_with_the_samples_it_summed(
    tmp_path: Path, dense: Path, candidate: Path, samples: Path
) -> None:
    checkpoint = Checkpoint(tmp_path / "at.npz", "key", every_s=0.0)
    comparing = Comparing.of(dense, candidate, samples)
    ahead = Models(*(one.twin() for one in comparing.models))
    with pytest.raises(Interrupted):
        comparing.stream(Breaking(comparing.given, 17), checkpoint=checkpoint, ahead=ahead)
    resumed, whole = (Comparing.of(dense, candidate, samples) for _ in range(2))
    assert resumed.stream(checkpoint=checkpoint, ahead=ahead) == whole.stream()
    assert resumed.outputs.result() == whole.outputs.result()


def test_two_workers_resumed_at_every_sample_give_the_figures_of_one(
    tmp_path: Path, dense: Path, candidate: Path, samples: Path
) -> None:
    whole = Comparing.of(dense, candidate, samples)
    expected = whole.stream(limit=9)
    for at in range(1, 9):
        first, second = (Comparing.of(dense, candidate, samples) for _ in range(2))
        checkpoint = Checkpoint(tmp_path / f"{at}.npz", "key", every_s=0.0)
        first.stream(limit=at, checkpoint=checkpoint, ahead=Models(*(one.twin() for one in first.models)))
        ahead = Models(*(one.twin() for one in second.models))
        assert second.stream(limit=9, checkpoint=checkpoint, ahead=ahead) == expected
        assert checkpoint.note is None
        assert second.outputs.result() == whole.outputs.result()


def test_only_large_layers_of_small_files_are_held_twice(comparing: Comparing) -> None:
    pairs = comparing.matching.pairs
    assert ahead_of(comparing.models, pairs) is None
    large = [_with_shape(pair, (1, 1000, 1000)) for pair in pairs[:1]]
    assert ahead_of(comparing.models, large) is not None
    facts = replace(comparing.models.reference.facts, size_bytes=200_000_000)
    comparing.models.reference.facts = facts
    assert ahead_of(comparing.models, large) is None


def _with_shape(pair: Pair, shape: tuple[int, ...]) -> Pair:
    tensor = replace(pair.candidate.tensor, shape=shape)
    return replace(pair, candidate=replace(pair.candidate, tensor=tensor))


class Slow:
    """A feed that takes its time."""

    def __init__(self, given: Feed) -> None:
        self._given = given
        self.count = given.count
        self.labels = given.labels

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        for inputs in self._given:
            time.sleep(0.05)
            yield inputs


def _run_slowly(paths: tuple[Path, Path, Path], checkpoint: Path, log: Path) -> None:
    comparing = Comparing.of(*paths)
    with LogWriter(log, comparing.models.candidate) as writer:
        comparing.stream(
            Slow(comparing.given), checkpoint=Checkpoint(checkpoint, "key", every_s=0.0), logs=(None, writer)
        )


@pytest.mark.heavy
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path, dense: Path, candidate: Path, samples: Path) -> None:
    path, log = tmp_path / "at.npz", tmp_path / "layers.log"
    child = multiprocessing.get_context("spawn").Process(
        target=_run_slowly, args=((dense, candidate, samples), path, log)
    )
    child.start()
    deadline = time.monotonic() + 60
    while (found := Checkpoint(path, "key").load()) is None or found[0] < 5:
        assert child.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    checkpoint = Checkpoint(path, "key")
    found = checkpoint.load()
    assert found is not None
    assert 5 <= found[0] < 40
    resumed = Comparing.of(dense, candidate, samples)
    with LogWriter(log, resumed.models.candidate, append=True) as writer:
        assert writer.frames >= found[0]
        figures = resumed.stream(checkpoint=checkpoint, logs=(None, writer))
    assert checkpoint.note is None
    whole = Comparing.of(dense, candidate, samples)
    with LogWriter(tmp_path / "whole.log", whole.models.candidate) as writer:
        assert figures == whole.stream(logs=(None, writer))
    assert log.read_bytes() == (tmp_path / "whole.log").read_bytes()
    checkpoint.discard()
    assert not [one for one in tmp_path.iterdir() if "at.npz" in one.name]


def _damaged(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "cut":
        del data[len(data) // 2 :]
    elif how == "empty":
        data.clear()
    elif how == "flipped":
        data[len(data) // 2] ^= 0xFF
    else:
        data[:] = b"no zip at all"
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("how", ["cut", "empty", "flipped", "text"])
def test_a_damaged_checkpoint_is_named_and_ignored(
    tmp_path: Path, dense: Path, candidate: Path, samples: Path, how: str
) -> None:
    checkpoint = Checkpoint(tmp_path / "at.npz", "key", every_s=0.0)
    expected = Comparing.of(dense, candidate, samples).stream(checkpoint=checkpoint)
    _damaged(checkpoint.path, how)
    again = Comparing.of(dense, candidate, samples)
    assert again.stream(checkpoint=checkpoint) == expected
    assert checkpoint.note is not None
    assert "at.npz is ignored: it is damaged" in checkpoint.note


def test_a_foreign_checkpoint_is_named_and_ignored(tmp_path: Path, dense: Path, candidate: Path, samples: Path) -> None:
    path = tmp_path / "at.npz"
    Comparing.of(dense, dense, samples).stream(checkpoint=Checkpoint(path, "other"))
    mine = Checkpoint(path, "key")
    expected = Comparing.of(dense, candidate, samples).stream()
    assert Comparing.of(dense, candidate, samples).stream(checkpoint=mine) == expected
    assert mine.note is not None
    assert "other models, samples or settings" in mine.note


def test_a_checkpoint_that_goes_too_far_or_past_its_log_is_ignored(
    tmp_path: Path, dense: Path, candidate: Path, samples: Path
) -> None:
    checkpoint = Checkpoint(tmp_path / "at.npz", "key")
    Comparing.of(dense, candidate, samples).stream(checkpoint=checkpoint)
    short = Comparing.of(dense, candidate, samples)
    assert {one.samples for one in short.stream(limit=3, checkpoint=checkpoint)} == {3}
    assert checkpoint.note is not None
    assert "only 3 are asked for" in checkpoint.note
    logged = Comparing.of(dense, candidate, samples)
    with LogWriter(tmp_path / "new.log", logged.models.candidate) as writer:
        logged.stream(limit=3, checkpoint=checkpoint, logs=(None, writer))
    assert checkpoint.note is not None
    assert "log does not reach" in checkpoint.note
    assert LayerLog(tmp_path / "new.log", candidate).frames == 3


def test_sums_of_other_layers_are_damage(tmp_path: Path, dense: Path, candidate: Path, samples: Path) -> None:
    """The key is the caller's word; what cannot be this comparison's is refused all the same."""
    checkpoint = Checkpoint(tmp_path / "at.npz", "key")
    checkpoint.save(3, {"layers": np.array([9])})
    found = Comparing.of(dense, candidate, samples).stream(checkpoint=checkpoint)
    assert {one.samples for one in found} == {40}
    assert checkpoint.note is not None
    assert "damaged" in checkpoint.note


def test_histograms_count_every_value_on_one_grid(comparing: Comparing, samples: Path) -> None:
    figures = comparing.stream()
    found = histograms(*comparing.models, comparing.given, comparing.matching.pairs, figures, limit=10)
    assert all(one is not None for one in found)
    first = found[0]
    assert first is not None
    assert len(first.edges) == 65
    assert sum(first.reference) == sum(first.candidate) == 10 * 16
    x = np.load(samples)["x"][:10]
    values = np.maximum(x @ DenseWeights.random().first.T, 0)
    assert first.reference == tuple(np.histogram(values, bins=np.array(first.edges))[0].tolist())


def test_a_layer_without_figures_has_no_histogram(tmp_path: Path, dense: Path, samples: Path) -> None:
    weights = DenseWeights.random()
    third = weights.third.copy()
    third[1:3] = np.nan
    bad = dense_model(tmp_path / "bad.tflite", replace(weights, third=third))
    comparing = Comparing.of(dense, bad, samples)
    figures = comparing.stream()
    found = histograms(*comparing.models, comparing.given, comparing.matching.pairs, figures)
    assert [one is None for one in found] == [False, False, True, True]
    assert [one.problem for one in figures] == [None, None, "non_finite", "non_finite"]
    assert figures[2].non_finite == 80
