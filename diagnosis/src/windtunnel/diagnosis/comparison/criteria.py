"""What a run is judged by: a limit of layers, and a set of rules."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from windtunnel.diagnosis.findings.divergence import NRMSE, Limit
from windtunnel.diagnosis.numerics.metrics import METRICS
from windtunnel.diagnosis.rules.explained_by_others import STAGES, GroupRule
from windtunnel.diagnosis.rules.non_finite_causes import NON_FINITE_RULES, NonFiniteRule
from windtunnel.diagnosis.rules.suspect_rules import RULES, Rule
from windtunnel.errors import InvalidInput
from windtunnel.thresholds import DEFAULT_THRESHOLD


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules that decide, each table in its order (docs/thresholds.md). `left_out`: names of rules that do not."""

    suspects: Sequence[Rule] = RULES
    groups: Sequence[Sequence[GroupRule]] = STAGES
    non_finite: Sequence[NonFiniteRule] = NON_FINITE_RULES
    left_out: tuple[str, ...] = ()

    def without(self, names: Collection[str]) -> RuleSet:
        """These rules without some.

        Args:
            names: of the rules to leave out.

        Returns:
            The other rules, in their order.

        Raises:
            InvalidInput: a name is unknown, or that of the last rule of a table, which decides what no other rule does.
        """
        last = {self.suspects[-1].name, self.non_finite[-1].name}
        known = {one.name for one in self.suspects} | {one.name for one in self.non_finite}
        known |= {one.name for stage in self.groups for one in stage}
        for name in sorted(names):
            if name in last:
                raise InvalidInput(
                    f"the rule {name!r} cannot be left out: it decides what no other rule decides",
                    hint="leave out the rules before it",
                )
            if name not in known:
                raise InvalidInput(f"there is no rule {name!r}", hint=f"rules: {', '.join(sorted(known - last))}")
        return RuleSet(
            [one for one in self.suspects if one.name not in names],
            [[one for one in stage if one.name not in names] for stage in self.groups],
            [one for one in self.non_finite if one.name not in names],
            tuple(sorted({*self.left_out, *names})),
        )


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a run is judged by."""

    limit: Limit = field(default_factory=Limit)
    rules: RuleSet = field(default_factory=RuleSet)

    def to_json(self) -> dict[str, Any]:
        """The criteria as JSON values, for `criteria_of`."""
        return {"threshold": self.limit.threshold, "metric": self.limit.metric, "left_out": list(self.rules.left_out)}


def criteria_of(threshold: float = DEFAULT_THRESHOLD, metric: str = NRMSE, left_out: Collection[str] = ()) -> Criteria:
    """The criteria with this limit and without some rules.

    Args:
        threshold: the value of the metric beyond which a layer diverges.
        metric: its name (docs/metrics.md); it must be a number for which some values are better.
        left_out: names of rules that do not decide.

    Returns:
        The criteria.

    Raises:
        InvalidInput: the metric cannot be limited, the threshold is not finite or, if larger values are worse, not
            positive, or a rule cannot be left out.
    """
    found = {one.name: one for one in METRICS}.get(metric)
    if found is None or found.better == "neither" or not found.can_be_limited:
        names = ", ".join(one.name for one in METRICS if one.can_be_limited)
        raise InvalidInput(f"the metric {metric!r} cannot be limited", hint=f"metrics: {names}")
    if not math.isfinite(threshold) or (found.better != "higher" and not threshold > 0.0):
        must = "finite" if found.better == "higher" else "positive"
        raise InvalidInput(f"the threshold {threshold} is not {must}", hint=f"give a {must} number for {metric}")
    return Criteria(Limit(threshold, metric, found.better), RuleSet().without(left_out))
