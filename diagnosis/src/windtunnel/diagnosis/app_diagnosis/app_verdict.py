"""The verdict about an app."""

from __future__ import annotations

from collections.abc import Sequence

from windtunnel.datacheck.findings import Finding
from windtunnel.diagnosis.app_diagnosis.app_result import AppFigures
from windtunnel.diagnosis.app_diagnosis.judge_inputs import InputJudgment
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.comparison import Verdict
from windtunnel.diagnosis.thresholds.apps.app_thresholds import BROKEN_AGREEMENT, BROKEN_APP_OUTPUT
from windtunnel.plain_text import figure


def verdict_of(
    causes: Sequence[Cause], figures: AppFigures, inputs: InputJudgment, failed: Sequence[Finding] = ()
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict, and why.

    Args:
        causes: what is wrong.
        figures: how far the app is from its reference.
        inputs: what is known of the inputs.
        failed: assertions of the user's that fail.

    Returns:
        Healthy without a cause, a failed assertion and an unexplained difference; broken if the outputs change much;
        degraded otherwise.
    """
    reasons = [*inputs.unexplained, *(one.message for one in failed)]
    if inputs.non_finite:
        reasons.insert(0, f"the app feeds NaN or infinity in {inputs.non_finite} frames")
    if figures.agreement is not None and figures.agreement < 1:
        reasons.append(f"fed by the app, the model names another class in {1 - figures.agreement:.1%} of the frames")
    elif figures.agreement is None and figures.output_nrmse:
        reasons.append(f"fed by the app, the outputs differ by nRMSE {figure(figures.output_nrmse, '.2g')}")
    if (drop := figures.accuracy_drop) is not None and figures.scores is not None and drop > 0:
        reasons.append(f"the app's accuracy is {figures.scores.top1:.1%}, {drop:.1%} below that of its reference")
    if not causes and not inputs.unexplained and not inputs.non_finite and not failed:
        return "healthy", ()
    return ("broken" if inputs.non_finite or _is_broken(causes, figures) else "degraded"), tuple(reasons)


def _is_broken(causes: Sequence[Cause], figures: AppFigures) -> bool:
    if any(not cause.code.startswith(("preprocessing.", "latency.")) for cause in causes):
        return True
    if figures.agreement is not None:
        return figures.agreement < BROKEN_AGREEMENT
    return figures.output_nrmse is not None and figures.output_nrmse > BROKEN_APP_OUTPUT
