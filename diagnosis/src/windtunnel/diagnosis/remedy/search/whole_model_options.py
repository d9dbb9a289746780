"""What to try on a whole model, closest to the variant first. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from windtunnel.diagnosis.remedy.search.candidates import Candidate
from windtunnel.diagnosis.remedy.search.recipes import (
    INPUT,
    OUTPUT,
    Precision,
    Rule,
    Scheme,
    Unit,
    kept,
    rules_of,
    with_ranges,
)

ALGORITHMS: Final = ("MSE", "OCTAV", "GPTQ")

Ranges = Mapping[str, tuple[float, float]]


def made_again(scheme: Scheme) -> Iterator[Candidate]:
    """The variant's own kind made again: calibrated again, then with one weight scale per channel if it has none.

    Args:
        scheme: of the variant.

    Yields:
        Each candidate.
    """
    what = "calibrated again (true minimum and maximum)" if scheme.method == "static" else "quantized again"
    yield Candidate("calibration", what, rules_of(scheme))
    if scheme.granularity == "TENSORWISE":
        yield Candidate("per_channel", "one weight scale per channel", rules_of(per_channel(scheme)))


def algorithms(scheme: Scheme) -> Iterator[Candidate]:
    """The variant's own kind with weights rounded differently.

    Args:
        scheme: of the variant.

    Yields:
        Each candidate.
    """
    for name in ALGORITHMS if scheme.method != "float16" else ():
        rules = rules_of(per_channel(scheme), algorithm=name)
        yield Candidate("algorithm", f"weights rounded by {name}", rules)


def per_channel(scheme: Scheme) -> Scheme:
    """A scheme with one weight scale per channel.

    Args:
        scheme: of the variant.

    Returns:
        Otherwise the same.
    """
    return replace(scheme, granularity="CHANNELWISE")


def clipped(scheme: Scheme, percent: float, ranges: Ranges) -> Candidate:
    """A candidate with activations clipped to a percentile of the calibration set.

    Args:
        scheme: of the variant.
        percent: of the values.
        ranges: (low, high), in real units, by tensor name.

    Returns:
        The candidate.
    """
    what = f"activations clipped at the {percent:g}th percentile"
    return Candidate("percentile", what, with_ranges(rules_of(per_channel(scheme)), ranges))


def other_precisions(scheme: Scheme) -> Iterator[Candidate]:
    """Recipes of another kind, for the whole model.

    Args:
        scheme: of the variant.

    Yields:
        Each candidate.
    """
    bits = max(scheme.weight_bits, 8) if scheme.method != "float16" else 8
    static = scheme.method == "static"
    others = [Scheme("static", bits, scheme.activation_bits), Scheme("static", bits, 16)] if static else []
    others += [Scheme("dynamic", 8), Scheme("weight_only", 8), Scheme("float16", 16)]
    for other in others:
        if other != per_channel(scheme):
            yield Candidate("precision", other.words, rules_of(other))


def keeping(base: Candidate, members: Sequence[Unit], precision: Precision, scheme: Scheme) -> Candidate:
    """A candidate with some units kept out of the quantization.

    Args:
        base: the candidate without them.
        members: units to keep.
        precision: in which.
        scheme: of the other units.

    Returns:
        The candidate.
    """
    rules: tuple[Rule, ...] = (*base.rules, *(kept(unit, precision, scheme) for unit in members))
    names = ", ".join(_short(unit) for unit in members[:3]) + (" ..." if len(members) > 3 else "")
    many = f"{len(members)} layer{'s' if len(members) > 1 else ''}"
    how = "in float" if precision == "float" else "with 16-bit activations"
    also = "" if base.family in ("calibration", "per_channel") else f"; {base.what}"
    return Candidate("layers", f"{many} kept {how}: {names}{also}", rules, tuple(members), precision)


def _short(unit: Unit) -> str:
    if unit.operation in (INPUT, OUTPUT):
        return f"the model's {unit.operation.lower()}"
    # Converters join all names that they have fused.
    name = unit.name.split(";")[0]
    return f"{unit.operation} {name}"


def ranked(units: Sequence[Unit], ranking: Sequence[tuple[str, float]]) -> tuple[Unit, ...]:
    """Sorts units by weight.

    The model's inputs weigh what their heaviest reader does, its outputs what their heaviest maker does: a layer
    comparison has no figures for them. A name that is not ranked weighs nothing.

    Args:
        units: in execution order.
        ranking: (name of a layer, weight).

    Returns:
        The heaviest first; equal ones in execution order.
    """
    weights: dict[str, float] = {}
    for name, weight in ranking:
        weights[name] = max(weight, weights.get(name, 0.0))

    def weight_of(unit: Unit) -> float:
        if unit.operation == INPUT:
            return max((weights.get(one.name, 0.0) for one in units if unit.name in one.reads), default=0.0)
        if unit.operation == OUTPUT:
            return max((weights.get(name, 0.0) for name in unit.reads), default=0.0)
        return weights.get(unit.name, 0.0)

    return tuple(sorted(units, key=lambda unit: (-weight_of(unit), unit.operation in (INPUT, OUTPUT))))


def neighbors(units: Sequence[Unit]) -> list[tuple[Unit, Unit]]:
    """Pairs of a unit and one that reads what it makes: damage by an activation's scale needs both kept.

    Args:
        units: of the float model.

    Returns:
        (maker, reader).
    """
    pairs = []
    for reader in units:
        for maker in units:
            if maker.name in reader.reads and maker.key != reader.key and maker.operation != OUTPUT:
                pairs.append((maker, reader))
    return pairs
