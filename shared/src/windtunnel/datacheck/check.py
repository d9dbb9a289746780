"""All findings on samples, labels and preprocessing, from a model and its answers on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.candidates import Candidate, candidates, kept_steps, raw_domain
from windtunnel.datacheck.chance import guessing, is_chance
from windtunnel.datacheck.findings import ACCURACY_CHANCE, INPUT_CHANNEL_ORDER, INPUT_INTEGER_CAST, INPUT_RANGE, Finding
from windtunnel.datacheck.label_order import label_order
from windtunnel.datacheck.labels import Reading
from windtunnel.datacheck.norm import AS_GOOD, BETTER, FITS, MEASURE, NormJudge
from windtunnel.datacheck.ranges import Expected, ValueRange, expected_range, mismatch
from windtunnel.datacheck.trials import FIRST, Judge, Tried, spread, try_all
from windtunnel.input_shapes import bare_name
from windtunnel.pipeline import InputSpec, Pipeline, Samples
from windtunnel.pipeline.feed import SampledFeed
from windtunnel.pipeline.samples_to_inputs import match_names
from windtunnel.tflite.facts import ModelFacts, TensorFacts
from windtunnel.tflite.quantization import dequantize

# So many samples show which values there are.
_LOOKED_AT: Final = 64
# Above this accuracy no other pipeline is looked for if nothing else is suspicious.
_FINE: Final = 0.95
# So many samples of each other pipeline are enough if nothing is suspicious.
_GLANCE: Final = 24
# Real values above this were not normalized: they are counts of a sensor.
_NOT_NORMALIZED: Final = 16.0

_USE = "use this pipeline (`preprocessing` in a plan, --pipeline in `windtunnel diff`)"


@dataclass(frozen=True, slots=True)
class Given:
    """A model, and the samples that it was run on.

    `specs` are those of the model's inputs. `right` is the score of each sample in [0, 1] with the model as trained;
    None without usable labels. `predicted` is the model's class of each sample, if labels are classes. `columns` is
    how many classes the model knows.
    """

    model: ModelFacts
    specs: tuple[InputSpec, ...]
    samples: Samples
    pipeline: Mapping[str, Any] | None
    reading: Reading
    right: NDArray[np.float64] | None = None
    predicted: NDArray[np.int64] | None = None
    columns: int = 0


@dataclass(frozen=True, slots=True)
class _Input:
    """The one input that values are judged of: raw values, values as the model gets them, and what it is made for."""

    tensor: TensorFacts
    called: str
    raw: ValueRange
    fed: ValueRange
    whole: bool
    is_cast: bool
    channels: int
    expected: Expected | None

    @property
    def mismatched(self) -> str:
        """Why the values are not what the model is made for; empty where they may be."""
        if self.expected is not None:
            return mismatch(self.fed, self.expected.values)
        real = np.dtype(self.tensor.dtype).kind == "f" or self.tensor.quantization is not None
        return "are not normalized for" if real and self.fed.high > _NOT_NORMALIZED else ""


def data_findings(given: Given, judge: Judge | None, norm: NormJudge | None = None) -> tuple[Finding, ...]:
    """Findings on values, channel order, accuracy and labels.

    If labels show that the model is right as it is, and no other pipeline does better, nothing is reported on the
    values.

    Args:
        given: the model and its answers on the samples.
        judge: scores samples under another pipeline; None: none is tried.
        norm: says without labels how well values fit; None: the model has no batch norm that could.

    Returns:
        The findings, the most important first.
    """
    look = _look_at(given)
    accuracy = None if given.right is None else float(given.right.mean())
    chance = _chance(given, accuracy)
    best, tried = _best(given, look, chance is not None, accuracy, judge)
    found = [] if chance is None else [chance]
    order = [] if given.predicted is None else _order(given, best)
    if order:
        return (*found, *order)
    if best is not None and look is not None:
        found.append(_better(given, look, best, tried))
    elif look is not None and accuracy is None and norm is not None:
        found += _by_norm(given, look, norm)
    elif look is not None and (accuracy is None or chance is not None):
        found += _values(given, look, tried)
    return tuple(found)


def _by_norm(given: Given, look: _Input, norm: NormJudge) -> list[Finding]:
    """Values that do not fit what the first batch norm met during the training."""
    now = norm.divergence(given.pipeline)
    if now is None or now <= FITS:
        return [] if now is not None else _values(given, look, [])
    before = kept_steps(given.pipeline)
    choices = [(one, one.pipeline(before)) for one in _choices(given, look)]
    found = [(one, pipeline, score) for one, pipeline in choices if (score := norm.divergence(pipeline)) is not None]
    # The most usual of those that fit as well comes first: statistics alone do not distinguish red from blue.
    least = min((score for _, _, score in found), default=0.0)
    found.sort(key=lambda one: max(one[2], least + AS_GOOD))
    if not found or found[0][2] * BETTER > now:
        return _values(given, look, [])
    best, pipeline, score = found[0]
    count = norm.samples.count
    tried = [Tried(one.what, other, value, now, count) for one, other, value in found]
    message = (
        f"{_found(look)}{_suggested(look)}: the first batch norm had other values during the training (divergence "
        f"{now:.3g}); with {best.what} they fit (divergence {score:.3g})"
    )
    fix = f"{_USE}, or prepare the samples as the training did"
    return [
        Finding(
            _code(given, look, best.what, pipeline),
            message,
            fix,
            _evidence(look) | {"pipeline": pipeline, "tried": [one.to_json(MEASURE) for one in tried]},
        )
    ]


def _choices(given: Given, look: _Input) -> list[Candidate]:
    """The usual pipelines for such values, without what is done as it is; none for a constant, which shows no range."""
    if look.raw.span <= 0.0:
        return []
    choices = list(candidates(raw_domain(look.raw, whole=look.whole), look.channels))
    if given.pipeline is None:
        # A cast alone is what happens as it is.
        choices = [one for one in choices if one.steps[0]["op"] != "cast"]
    return choices


def _code(given: Given, look: _Input, what: str, pipeline: Mapping[str, Any]) -> str:
    if what == "BGR, values as they are" or _same_values(given.pipeline, pipeline):
        return INPUT_CHANNEL_ORDER
    return INPUT_INTEGER_CAST if look.is_cast else INPUT_RANGE


def _order(given: Given, best: Tried | None) -> list[Finding]:
    """Labels in another order, where that explains more than another pipeline does."""
    assert given.reading.labels is not None and given.predicted is not None
    found = label_order(given.reading.labels, given.predicted, max(2, given.columns), given.samples.class_names)
    return [one for one in found if best is None or one.evidence["accuracy_renumbered"] > best.score]


def _look_at(given: Given) -> _Input | None:
    """The values of the only input, or the only one with images; None if there is none to judge."""
    inputs = [tensor for tensor in given.model.inputs if tensor.dtype != "string"]
    if len(inputs) > 1:
        inputs = [tensor for tensor in inputs if len(tensor.shape) == 4]
    if len(inputs) != 1:
        return None
    steps = None if given.pipeline is None else Pipeline.parse(given.pipeline)
    if steps is not None and (steps.inputs or steps.kind in ("audio", "text")):
        # What may be tried is for images and plain signals.
        return None
    tensor = inputs[0]
    name = match_names(given.samples, given.specs)[tensor.name]
    few = given.samples.take(spread(given.samples.count, _LOOKED_AT))
    raws = [np.asarray(few.inputs[name][index]) for index in range(few.count)]
    if any(raw.dtype.kind not in "buif" for raw in raws):
        return None
    fed = [arrays[tensor.name] for arrays in SampledFeed(few, steps, given.specs)]
    is_whole = all(raw.dtype.kind in "bui" or bool((raw == np.rint(raw)).all()) for raw in raws)
    is_cast = raws[0].dtype.kind in "bui" and fed[0].dtype.kind == "f" and steps is None
    # Stored integers of a quantized input stand for real numbers.
    raw, values = _range(raws), _range([dequantize(one, tensor.quantization) for one in fed])
    # Whole numbers of at most 1 are as well 0 and 1 of normalized images.
    whole = is_whole and (raws[0].dtype.kind in "bui" or raw.high > 1.5)
    channels = raws[0].shape[-1] if raws[0].ndim >= 3 else 0
    called = given.model.input_name(tensor) or bare_name(tensor.name)
    return _Input(tensor, called, raw, values, whole, is_cast, channels, expected_range(given.model, tensor))


def _range(arrays: list[NDArray[Any]]) -> ValueRange:
    return ValueRange(float(min(one.min() for one in arrays)), float(max(one.max() for one in arrays)))


def _chance(given: Given, accuracy: float | None) -> Finding | None:
    """The model is right no more often than guessing is."""
    if accuracy is None or given.reading.metric != "classes" or given.reading.labels is None:
        return None
    labels = given.reading.labels
    count, classes = len(labels), max(2, given.columns)
    largest = float(np.bincount(labels).max() / count)
    if len(np.unique(labels)) < 2 or not is_chance(round(accuracy * count), count, classes, largest):
        return None
    guess = guessing(classes, largest)
    said, fix = f"is no more than chance: guessing reaches {guess:.4g}", ""
    if accuracy > guess:
        said = f"may be chance: {count} samples are too few to distinguish it from guessing, which reaches {guess:.4g}"
        fix = "give more samples, and "
    return Finding(
        ACCURACY_CHANCE,
        f"the accuracy of {accuracy:.4g} on {count} samples {said} "
        f"({classes} classes, the largest has {largest:.1%} of the samples)",
        f"{fix}compare samples, preprocessing and the numbering of the labels with those of the training",
        {"accuracy": accuracy, "samples": count, "classes": classes, "guessing": guess},
    )


def _best(
    given: Given, look: _Input | None, chance: bool, accuracy: float | None, judge: Judge | None
) -> tuple[Tried | None, list[Tried]]:
    """The pipeline that is right more often than the one in use, and all that were tried."""
    if look is None or accuracy is None or given.right is None or judge is None:
        return None, []
    suspicious = chance or bool(look.mismatched) or (look.is_cast and look.expected is None)
    choices = _choices(given, look)
    if not choices or accuracy >= _FINE or not (suspicious or look.channels in (1, 3)):
        return None, []
    first = _GLANCE if not suspicious else FIRST
    task = None if given.pipeline is None else given.pipeline.get("task")
    tried = try_all(choices, kept_steps(given.pipeline), given.right, judge, first=first, task=task)
    sure = [one for one in tried if one.sure]
    return (sure[0] if sure else None), tried


def _better(given: Given, look: _Input, best: Tried, tried: list[Tried]) -> Finding:
    measure = _measure(given)
    others = [one.what for one in tried if one is not best and one.as_good_as(best)]
    return Finding(
        _code(given, look, best.what, best.pipeline),
        f"{_found(look)}{_suggested(look)}: with {best.what}, the {measure} is {best.score:.4g} instead of "
        f"{best.before:.4g} on {best.samples} samples"
        + (f"; as good, and less simple or usual: {' / '.join(others)}" if others else ""),
        f"{_USE}, or prepare the samples as the training did",
        _evidence(look) | {"pipeline": dict(best.pipeline), "tried": [one.to_json(measure) for one in tried]},
    )


def _same_values(pipeline: Mapping[str, Any] | None, best: Mapping[str, Any]) -> bool:
    """Whether the best pipeline scales as the given one does, and has another channel order."""
    if pipeline is None:
        return False
    scales, orders = zip(*(_scale_and_order(one) for one in (pipeline, best)), strict=True)
    return orders[0] != orders[1] and bool(np.allclose(scales[0], scales[1], rtol=1e-3, atol=1e-6))


def _scale_and_order(pipeline: Mapping[str, Any]) -> tuple[list[float], str]:
    scale, order = [1.0, 0.0], "RGB"
    for step in pipeline.get("steps") or ():
        if step.get("op") == "normalize":
            scale = [float(np.mean(step.get("scale", 1.0))), float(np.mean(step.get("offset", 0.0)))]
        elif step.get("op") == "channel_order":
            order = str(step.get("to"))
    return scale, order


def _values(given: Given, look: _Input, tried: list[Tried]) -> list[Finding]:
    """Values that do not fit, if no label says which pipeline is right."""
    expected = look.expected
    if not look.mismatched and not (look.is_cast and expected is None and look.fed.high > 1.0):
        return []
    measure = _measure(given)
    evidence = _evidence(look) | {"tried": [one.to_json(measure) for one in tried]}
    fix = "say in `preprocessing` how the training prepared its samples, for example with a `normalize` step"
    fitting = _fitting(look)
    if fitting is not None:
        evidence["pipeline"] = fitting.pipeline(kept_steps(given.pipeline))
        fix = f"{_USE}, if the training used {fitting.what}"
    if given.right is None:
        fix += "; with labels, Windtunnel tries which preprocessing fits"
    code = INPUT_INTEGER_CAST if look.is_cast else INPUT_RANGE
    return [Finding(code, f"{_found(look)}{_suggested(look)}", fix, evidence)]


def _fitting(look: _Input) -> Candidate | None:
    """The candidate whose values are those that the model says that it is made for."""
    if look.expected is None or look.raw.span <= 0.0:
        return None
    wanted, domain = look.expected.values, raw_domain(look.raw, whole=look.whole)
    for one in candidates(domain, look.channels):
        scale, order = _scale_and_order({"steps": one.steps})
        ends = ValueRange(domain.low * scale[0] + scale[1], domain.high * scale[0] + scale[1])
        near = max(abs(ends.low - wanted.low), abs(ends.high - wanted.high))
        if order == "RGB" and ends.span > 0.0 and near <= 0.1 * wanted.span:
            return one
    return None


def _found(look: _Input) -> str:
    if look.is_cast:
        return (
            f"the samples are integers ({look.raw}) and input {look.called!r} takes {look.tensor.dtype}: they reach "
            "the model as they are"
        )
    return f"input {look.called!r} gets values from {look.fed}"


def _suggested(look: _Input) -> str:
    if look.expected is None:
        return ""
    return f"; it is made for {look.expected.values}, by {look.expected.source}"


def _evidence(look: _Input) -> dict[str, Any]:
    expected = look.expected
    return {
        "input": look.called,
        "raw": [look.raw.low, look.raw.high],
        "fed": [look.fed.low, look.fed.high],
        "expected": None if expected is None else [expected.values.low, expected.values.high],
        "expected_by": None if expected is None else expected.source,
    }


def _measure(given: Given) -> str:
    return "share of right elements" if given.reading.metric == "elements" else "accuracy"
