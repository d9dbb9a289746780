"""Errors of layers as curves: one per variant or kind of error, and the common order of their layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from windtunnel.cli.report.evidence import culprit_codes
from windtunnel.cli.report.formatting import clean, is_number, nrmse_text
from windtunnel.diagnosis.findings.divergence import Limit, entry_diverges, limit_of

_COLORS = 8
_DASHES = ("", "7 3", "2 3", "9 3 2 3")
ACCUMULATED, ISOLATED = "nrmse", "local_nrmse"

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Curve:
    """One variant's layers. `layers` maps the layer's place in the reference to its entry in the diagnosis.

    `figure` is what is drawn: ACCUMULATED or ISOLATED, which has no limit. `culprits` are codes of causes.
    """

    name: str
    index: int
    layers: Mapping[Key, Mapping[str, Any]]
    limit: Limit
    figure: str = ACCUMULATED
    culprits: Mapping[Key, Sequence[str]] = field(default_factory=dict)

    @property
    def style(self) -> str:
        """The class that gives its color."""
        return f"v{self.index % _COLORS}"

    @property
    def dashes(self) -> str | None:
        """The dashes of its line, which distinguish curves without color; None: a solid line."""
        return _DASHES[(self.index + self.index // _COLORS) % len(_DASHES)] or None

    @property
    def first_over(self) -> Key | None:
        """The first layer that diverges."""
        return next((key for key, layer in self.layers.items() if self.diverges(layer)), None)

    @property
    def largest(self) -> float | None:
        """The largest figure."""
        return max(self.values, default=None)

    @property
    def values(self) -> list[float]:
        """All figures that are known."""
        return [value for layer in self.layers.values() if is_number(value := layer.get(self.figure))]

    def diverges(self, layer: Mapping[str, Any]) -> bool:
        """Whether a layer is beyond the limit, or has no figure for a known reason.

        Args:
            layer: an entry of `layers`.
        """
        return self.figure == ACCUMULATED and entry_diverges(layer, self.limit)

    def shown(self, layer: Mapping[str, Any]) -> str:
        """A layer's figure, or why there is none.

        Args:
            layer: an entry of `layers`.

        Returns:
            The text.
        """
        problem = layer.get("problem")
        return nrmse_text(layer.get(self.figure)) if problem is None else clean(problem).replace("_", " ")


def curve(name: str, index: int, diagnosis: Mapping[str, Any], figure: str = ACCUMULATED) -> Curve:
    """The curve of a diagnosis.

    Args:
        name: the variant, or the kind of error.
        index: which of all curves it is; chooses its color and dashes.
        diagnosis: a `windtunnel.diagnosis/1`.
        figure: ACCUMULATED or ISOLATED.

    Returns:
        The curve.
    """
    seen: dict[str, int] = {}
    layers, culprits = {}, {}
    codes = culprit_codes(diagnosis)
    for number, layer in enumerate(diagnosis.get("layers") or []):
        anchor = str(layer.get("reference") or layer.get("name"))
        seen[anchor] = seen.get(anchor, 0) + 1
        key = (anchor, seen[anchor])
        layers[key] = layer
        if number in codes:
            culprits[key] = codes[number]
    return Curve(name, index, layers, limit_of(diagnosis), figure, culprits)


def common_order(sequences: Sequence[Sequence[Key]]) -> list[Key]:
    """All keys in one order: that of the longest sequence; other keys come after their predecessor.

    Args:
        sequences: the keys of each curve, in its own order.

    Returns:
        Each key once.
    """
    ordered = sorted(sequences, key=len, reverse=True)
    if not ordered:
        return []
    followers: dict[Key | None, list[Key]] = {None: []}
    known = set(ordered[0])
    for sequence in ordered[1:]:
        before: Key | None = None
        for key in sequence:
            if key not in known:
                known.add(key)
                followers.setdefault(before, []).append(key)
            before = key
    return list(_woven(list(ordered[0]), followers))


def _woven(base: Sequence[Key], followers: Mapping[Key | None, Sequence[Key]]) -> Iterator[Key]:
    waiting = [*reversed(base), *reversed(followers[None])]
    while waiting:
        key = waiting.pop()
        yield key
        waiting.extend(reversed(followers.get(key, ())))
