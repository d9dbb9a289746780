"""What a run is, what is known of it, and when it has passed. Plain values; no transport, no database.

`apply` folds facts into a RunRecord, in any order; `steps` says what a run is made of and what has become of each
step; `judge` gives the verdict.
"""

from windtunnel.metrics_store.domain.facts import Fact
from windtunnel.metrics_store.domain.gates import GateResult
from windtunnel.metrics_store.domain.record import RunRecord, apply, fold
from windtunnel.metrics_store.domain.steps import Outcome, Step, is_complete, progress, steps
from windtunnel.metrics_store.domain.verdict import Judgment, VariantJudgment, Verdict, judge

__all__ = [
    "Fact",
    "GateResult",
    "Judgment",
    "Outcome",
    "RunRecord",
    "Step",
    "VariantJudgment",
    "Verdict",
    "apply",
    "fold",
    "is_complete",
    "judge",
    "progress",
    "steps",
]
