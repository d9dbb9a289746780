"""Outputs are paired by their values; exchanged ones, and exchanged names and inputs, are a cause."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.layers import Layers, options, random_samples, random_weights
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.diagnosis.execution import output_pairs
from windtunnel.diagnosis.execution.output_pairs import CODE, RENAMED, UNTRIED


class _Named(Layers):
    """Outputs with names of their own in the signature; none: no signature."""

    names: tuple[str, ...] = ()

    def _signature(self, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
        made = super()._signature(inputs, outputs)
        for entry, name in zip(made.outputs, self.names, strict=True):
            entry.name = name
        return made


def _heads(
    path: Path,
    order: Sequence[int],
    names: Sequence[str] = (),
    *,
    seeds: Sequence[int] = (1, 2, 3),
    called: str = "head",
) -> Path:
    """Heads of one shape, each with weights of its own, as outputs in this order."""
    net = _Named()
    net.names = tuple(names)
    source = net.tensor("input", (1, 8))
    heads = [
        net.fully_connected(f"{called}_{place}", source, random_weights((6, 8), seed=seed), None, 1)
        for place, seed in enumerate(seeds)
    ]
    return net.write(path, [source], [heads[place] for place in order], signature=bool(names))


def _compare(folder: Path, one: Path, other: Path) -> Comparison:
    return compare_models(one, other, random_samples(folder / "s.npz", (8,)))


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_another_order_that_names_find_is_a_finding(tmp_path: Path, order: tuple[int, ...]) -> None:
    names = ("a", "b", "c")
    reference = _heads(tmp_path / "r.tflite", (0, 1, 2), names)
    result = _compare(tmp_path, reference, _heads(tmp_path / "c.tflite", order, [names[place] for place in order]))
    assert (result.verdict, result.causes, result.output.nrmse) == ("healthy", (), 0.0)
    assert "the names of the signature still find them" in " ".join(one.message for one in result.findings)


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_another_order_without_names_is_a_cause(tmp_path: Path, order: tuple[int, ...]) -> None:
    reference = _heads(tmp_path / "r.tflite", (0, 1, 2))
    result = _compare(tmp_path, reference, _heads(tmp_path / "c.tflite", order))
    (cause,) = result.causes
    assert (cause.code, cause.evidence["kind"], cause.verified) == (CODE, "order", True)
    assert result.verdict == "degraded"
    # The figures are those of outputs with the same values.
    assert result.output.nrmse == 0.0
    places = {one["place"]["reference"]: one["place"]["candidate"] for one in cause.evidence["outputs"]}
    assert places == {own: place for place, own in enumerate(order) if own != place}


def test_exchanged_names_are_named(tmp_path: Path) -> None:
    reference = _heads(tmp_path / "r.tflite", (0, 1, 2), ("boxes", "scores", "more"))
    candidate = _heads(tmp_path / "c.tflite", (0, 1, 2), ("scores", "boxes", "more"))
    result = _compare(tmp_path, reference, candidate)
    (cause,) = result.causes
    assert (cause.code, cause.evidence["kind"]) == (CODE, "names")
    assert [(one["reference"], one["candidate"]) for one in cause.evidence["outputs"]] == [
        ("boxes", "scores"),
        ("scores", "boxes"),
    ]


def test_other_names_in_the_same_order_are_a_finding(tmp_path: Path) -> None:
    reference = _heads(tmp_path / "r.tflite", (0, 1, 2), ("boxes", "scores", "more"))
    result = _compare(tmp_path, reference, _heads(tmp_path / "c.tflite", (0, 1, 2), ("out_0", "out_1", "out_2")))
    assert (result.verdict, result.causes) == ("healthy", ())
    assert RENAMED in {one.code for one in result.findings}


def test_other_names_in_another_order_are_a_finding(tmp_path: Path) -> None:
    reference = _heads(tmp_path / "r.tflite", (0, 1, 2), ("boxes", "scores", "more"))
    result = _compare(tmp_path, reference, _heads(tmp_path / "c.tflite", (0, 2, 1), called="Identity"))
    assert (result.verdict, result.causes) == ("healthy", ())
    assert result.output.nrmse == 0.0
    (found,) = (one for one in result.findings if one.code == "conversion.output_order")
    assert "'scores' is 'Identity_1'" in found.message


def test_outputs_with_the_same_values_are_no_exchange(tmp_path: Path) -> None:
    reference = _heads(tmp_path / "r.tflite", (0, 1, 2), seeds=(1, 1, 2))
    result = _compare(tmp_path, reference, _heads(tmp_path / "c.tflite", (1, 0, 2), seeds=(1, 1, 2)))
    assert (result.verdict, result.causes) == ("healthy", ())
    assert RENAMED not in {one.code for one in result.findings}


def test_outputs_that_are_wrong_are_no_exchange(tmp_path: Path) -> None:
    reference = _heads(tmp_path / "r.tflite", (0, 1, 2))
    result = _compare(tmp_path, reference, _heads(tmp_path / "c.tflite", (0, 1, 2), seeds=(1, 5, 6)))
    assert CODE not in {cause.code for cause in result.causes}
    assert result.verdict != "healthy"


def test_exchanged_inputs_are_named(tmp_path: Path) -> None:
    paths = []
    for name, swapped in (("r", False), ("c", True)):
        net = Layers()
        sources = [net.tensor(f"{name}_{side}", (1, 8)) for side in ("left", "right")]
        heads = [
            net.fully_connected(f"head_{place}", source, random_weights((6, 8), seed=place), None, 1)
            for place, source in enumerate(reversed(sources) if swapped else sources)
        ]
        inputs = sources
        both = net.layer("CONCATENATION", "both", heads, (1, 12), options("Concatenation", axis=1))
        paths.append(net.write(tmp_path / f"{name}.tflite", inputs, [both], signature=False))
    draw = np.random.default_rng(1)
    rows: dict[str, Any] = {f"x/r_{side}": draw.normal(size=(8, 8)).astype(np.float32) for side in ("left", "right")}
    np.savez(tmp_path / "s.npz", **rows)
    result = compare_models(paths[0], paths[1], tmp_path / "s.npz")
    assert (result.causes[0].code, result.causes[0].evidence["kind"]) == (CODE, "inputs")
    assert result.causes[0].evidence["exchanged"] == ["c_left", "c_right"]


def test_an_output_that_is_an_input_is_called_by_its_output_name(tmp_path: Path) -> None:
    """A signature names such a tensor twice."""

    def model(path: Path, names: tuple[str, ...]) -> Path:
        net = _Named()
        net.names = names
        source = net.tensor("input", (1, 8))
        head = net.fully_connected("head", source, random_weights((8, 8), seed=1), None, 1)
        return net.write(path, [source], [head, source])

    result = _compare(
        tmp_path, model(tmp_path / "r.tflite", ("made", "same")), model(tmp_path / "c.tflite", ("same", "made"))
    )
    (cause,) = result.causes
    assert (cause.code, cause.evidence["kind"]) == (CODE, "names")
    assert [one["reference"] for one in cause.evidence["outputs"]] == ["made", "same"]


def test_of_many_values_evenly_spaced_ones_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_pairs, "OUTPUT_PAIRING_VALUES", 24)
    kept = output_pairs._spaced(np.arange(10.0), 3)
    assert kept.tolist() == [0.0, 4.0, 8.0]
    assert kept.base is None
    reference = _heads(tmp_path / "r.tflite", (0, 1, 2))
    result = _compare(tmp_path, reference, _heads(tmp_path / "c.tflite", (1, 0, 2)))
    assert [cause.code for cause in result.causes] == [CODE]


def _states(path: Path, count: int, seed: int) -> Path:
    """So many inputs of one shape, added up behind weights of their own."""
    net = Layers()
    sources = [net.tensor(f"state_{place:02}", (1, 4)) for place in range(count)]
    both = net.layer("CONCATENATION", "both", sources, (1, 4 * count), options("Concatenation", axis=1))
    head = net.fully_connected("head", both, random_weights((6, 4 * count), seed=seed), None, 1)
    return net.write(path, sources, [head], signature=False)


@pytest.mark.parametrize(("count", "tried", "untried"), [(12, 32, [66]), (4, 6, [])])
def test_not_all_exchanges_of_many_inputs_are_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, tried: int, untried: list[int]
) -> None:
    runs: list[int] = []
    known = output_pairs._distances

    def counted(*both: Any) -> Any:
        runs.append(1)
        return known(*both)

    monkeypatch.setattr(output_pairs, "_distances", counted)
    draw = np.random.default_rng(1)
    rows: dict[str, Any] = {f"x/state_{k:02}": draw.normal(size=(4, 4)).astype(np.float32) for k in range(count)}
    np.savez(tmp_path / "s.npz", **rows)
    models = _states(tmp_path / "r.tflite", count, 1), _states(tmp_path / "c.tflite", count, 2)
    result = compare_models(*models, tmp_path / "s.npz")
    # Once for the outputs as they are called.
    assert len(runs) == 1 + tried
    assert [one.evidence["pairs"] for one in result.findings if one.code == UNTRIED] == untried
