"""From figures to a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from windtunnel.datacheck.chance import wilson_interval
from windtunnel.datacheck.findings import INPUT_CHANNEL_ORDER, INPUT_INTEGER_CAST, INPUT_RANGE, Finding
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.comparison import Verdict
from windtunnel.diagnosis.findings.coverage import Coverage
from windtunnel.diagnosis.findings.divergence import NRMSE, Limit, diverges, has_figure
from windtunnel.diagnosis.findings.layer_diff import LayerDiff
from windtunnel.diagnosis.findings.output_diff import OutputDiff
from windtunnel.diagnosis.thresholds.verdict_thresholds import (
    BROKEN_CHANGED,
    BROKEN_DROP,
    BROKEN_OUTPUT,
    CHANCE,
    CHANCE_EXACT_SAMPLES,
    CHANCE_Z,
    DEGRADED_CHANGED,
    DEGRADED_DROP,
    REASON_NAME_LENGTH,
)

_OF_SAMPLES = frozenset({INPUT_INTEGER_CAST, INPUT_RANGE, INPUT_CHANNEL_ORDER})


def judge(
    layers: tuple[LayerDiff, ...],
    output: OutputDiff,
    coverage: Coverage,
    *,
    limit: Limit,
    samples: int,
    synthetic: bool = False,
    causes: Sequence[Cause] = (),
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and its reasons.

    A candidate is broken in four cases. It gives NaN or infinity and the reference does not, or an output of another
    shape. Top-1 falls by 0.10 or more. The predicted class changes for 30 % of the samples or more. The nRMSE of the
    worst output reaches 0.30.

    Otherwise it is degraded in five cases. A layer diverges or has no figure. Top-1 falls by more than 0.02. The class
    changes for more than 5 % of the samples, or the nRMSE of an output exceeds the threshold. No layer could be
    compared. A cause is known; a difference that no output shows is not a cause.

    Otherwise it is healthy.

    Changed classes count only for what is known to be a classifier, and not for `synthetic` samples: random inputs are
    near the borders between classes, and rounding is enough to change one. Otherwise a change counts if the
    reference's class leads the candidate's by 5 % of the range of its outputs. A fall of top-1, and a share of changed
    classes, count only if they are more than chance gives in 1 of 20 sets of samples.

    Args:
        layers: the compared layers, in execution order.
        output: how the outputs compare.
        coverage: which layers were compared.
        limit: beyond which a layer diverges.
        samples: how many.
        synthetic: they are random inputs.
        causes: that are known.

    Returns:
        The verdict, and its reasons as sentences, the most important first.
    """
    drop, changed = _drop(output, samples), 0.0 if synthetic else _changed(output, samples)
    broken = _broken(layers, output, drop, changed)
    degraded = [*_faults(causes), *_degraded(layers, output, coverage, limit, drop, changed)]
    if broken:
        return "broken", tuple(broken + degraded)
    return ("degraded" if degraded else "healthy"), tuple(degraded)


def left_open(layers: Sequence[LayerDiff], output: OutputDiff, coverage: Coverage) -> tuple[str, ...]:
    """What a comparison without a fault could not judge, if that is most of it, or every output.

    A part of a layer that was compared, such as the convolution before its activation, does not count.

    Args:
        layers: the compared layers.
        output: how the outputs compare.
        coverage: which layers were compared.

    Returns:
        Sentences.
    """
    found = []
    judged = sum(has_figure(layer) for layer in layers)
    missing = sum(not one.inside for one in coverage.unmatched)
    total = len(layers) + missing
    if 2 * judged < total:
        choices = sum(layer.is_choice for layer in layers)
        why = [f"{choices} depend on choices that rounding may change"] if choices else []
        why += [f"{missing} were not compared"] if missing else []
        found.append(f"only {judged} of {total} layers could be judged: {', '.join(why)}")
    if not output.judged:
        found.append("no output could be judged: accuracy, agreement and nRMSE are unknown")
    return tuple(found)


def samples_reasons(verdict: Verdict, findings: Sequence[Finding]) -> tuple[str, ...]:
    """The reason that samples do not fit the reference, which is to be fixed first.

    Args:
        verdict: of the comparison.
        findings: on the samples.

    Returns:
        Sentences; empty for a healthy candidate.
    """
    if verdict == "healthy":
        return ()
    codes = (one.code for one in findings if one.code in _OF_SAMPLES and one.suggests_pipeline)
    return tuple(f"{code}: the samples do not fit the reference; prepare them first, then compare" for code in codes)


def _faults(causes: Sequence[Cause]) -> list[str]:
    """One sentence per fault that was found."""
    return [cause.code + _place(cause) for cause in causes]


def _place(cause: Cause) -> str:
    if cause.layer is None:
        return ""
    return f" at {_short(cause.layer)!r}" + ("" if cause.op_index is None else f", op {cause.op_index}")


def _short(name: str) -> str:
    """A name that fits into a sentence: converters join those of all that they fused."""
    first = name.split(";")[0]
    return name if len(name) <= REASON_NAME_LENGTH else f"{first[:REASON_NAME_LENGTH]}…"


def _broken(layers: tuple[LayerDiff, ...], output: OutputDiff, drop: float, changed: float) -> list[str]:
    reasons = [one.words() for one in output.failures]
    sick = [layer for layer in layers if layer.non_finite and not layer.reference_non_finite]
    if sick:
        reasons.append(f"{sick[0].op} {_short(sick[0].name)!r} is the first layer with NaN or infinity")
    if drop >= BROKEN_DROP:
        reasons.append(f"top-1 falls by {drop:.3f}")
    if changed >= BROKEN_CHANGED:
        reasons.append(f"the predicted class changes for {changed:.0%} of the samples")
    if output.nrmse is not None and output.nrmse >= BROKEN_OUTPUT:
        reasons.append(f"the output's nRMSE is {output.nrmse:.3f}")
    return reasons


def _degraded(
    layers: tuple[LayerDiff, ...],
    output: OutputDiff,
    coverage: Coverage,
    limit: Limit,
    drop: float,
    changed: float,
) -> list[str]:
    reasons = []
    bad = [layer for layer in layers if diverges(layer, limit)]
    if bad:
        what = bad[0].problem or _figure(bad[0], limit)
        verb = "diverges" if len(bad) == 1 else "diverge"
        reasons.append(
            f"{len(bad)} of {len(layers)} layers {verb} ({limit.words()}), "
            f"first {bad[0].op} {_short(bad[0].name)!r} ({what})"
        )
    if DEGRADED_DROP < drop < BROKEN_DROP:
        reasons.append(f"top-1 falls by {drop:.3f}")
    if DEGRADED_CHANGED < changed < BROKEN_CHANGED:
        reasons.append(f"the predicted class changes for {changed:.0%} of the samples")
    if output.nrmse is not None and limit.nrmse < output.nrmse < BROKEN_OUTPUT:
        reasons.append(f"the output's nRMSE is {output.nrmse:.3f}")
    if not output.reference_finite:
        reasons.append("every output of the reference holds NaN or infinity: there is nothing to judge by")
    if not coverage.compared:
        reasons.append("no layer of the candidate could be matched with one of the reference")
    return reasons


def _figure(layer: LayerDiff, limit: Limit) -> str:
    if limit.metric == NRMSE:
        return f"nRMSE {layer.nrmse:.3f}"
    return f"{limit.metric} {layer.metrics[limit.metric]:.4g}"


def _drop(output: OutputDiff, samples: int) -> float:
    """Fall of top-1; 0 where unknown or where chance explains it."""
    # Shares are fractions of whole samples; binary noise must not decide at a limit.
    drop = round(output.accuracy_drop or 0.0, 9)
    return drop if chance_of_drop(output, samples) < CHANCE else 0.0


def chance_of_drop(output: OutputDiff, samples: int) -> float:
    """The probability of so many more losses than gains if both are equally likely: the exact McNemar test.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947). One-sided.

    Args:
        output: how the outputs compare.
        samples: how many.

    Returns:
        0 to 1; 1 if nothing fell.
    """
    fell = round((output.accuracy_drop or 0.0) * samples)
    lost = fell if output.lost is None else output.lost
    gained = output.gained or 0
    if lost <= gained:
        return 1.0
    # From some hundreds on the sum is far below any limit or the normal approximation is as good.
    if lost + gained > CHANCE_EXACT_SAMPLES:
        return 0.5 * math.erfc((lost - gained - 1) / math.sqrt(2.0 * (lost + gained)))
    return sum(math.comb(lost + gained, k) for k in range(lost, lost + gained + 1)) / 2.0 ** (lost + gained)


def _changed(output: OutputDiff, samples: int) -> float:
    """Share of samples whose class changed; 0 where unknown, or where chance may have made it more than is allowed."""
    if not output.is_classifier or not samples:
        return 0.0
    changed = round(output.changed, 9)
    return changed if _at_least(changed, samples) > DEGRADED_CHANGED else 0.0


def _at_least(share: float, samples: int) -> float:
    """The lower end of the one-sided 95 % interval of a share."""
    return wilson_interval(share, samples, CHANCE_Z)[0]
