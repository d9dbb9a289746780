"""The evidence of a cause as sentences, the same for the terminal and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from windtunnel.accelerators import shown_accelerator
from windtunnel.cli.report.formatting import clean, entries, figure, flat, is_number, named, nrmse_text, part, shorten
from windtunnel.cli.report.layer_names import layer_title

Evidence = Mapping[str, Any]

_PATTERNS: Final[Mapping[str, str]] = {
    "missing": "are zero throughout",
    "zeroed": "are zero in {channels}",
    "sign": "have the other sign in {channels}",
    "scaled": "are scaled in {channels}",
    "shifted": "are shifted in {channels}",
    "permuted_channels": "have their output channels in another order",
    "permuted_inputs": "have their input channels in another order",
    "few_values": "differ in single values, in {channels}",
    "noise": "differ without a pattern in {channels}",
    "non_finite": "hold NaN or infinity",
}

# By kind of a layer's note: the field of a cause's evidence with the same content.
_TELLS: Final[Mapping[str, str]] = {"clipped": "held", "wide": "held", "per_tensor": "largest_to_median_channel"}
_KERNELS: Final[Mapping[str, str]] = {
    "xnnpack": "the kernels of XNNPACK",
    "none": "the runtime's builtin kernels",
    "reference": "the reference kernels",
}
NOTHING_TOLD: Final[Evidence] = {}


def accounts(cause: Mapping[str, Any]) -> list[str]:
    """The main points of a cause's evidence; all fields, shortened, if no point is known."""
    evidence = part(cause, "evidence")
    found = [words for account in _ACCOUNTS for words in account(evidence)]
    if found:
        return found
    fields = [f"{key} {shorten(value, 160)}" for key, value in flat(evidence)]
    return ["; ".join(fields)] if fields else []


def remedy_words(cause: Mapping[str, Any]) -> str:
    """The fix as a sentence: what to do and with which figures; empty if none is known."""
    fix = dict(part(cause, "fix"))
    action = clean(fix.pop("action", ""))
    layer = part(cause, "place").get("layer")
    details = [f"{key.replace('_', ' ')} {layer_title(value)}" for key, value in flat(fix) if value != clean(layer)]
    return ": ".join(filter(None, (action.replace("_", " "), ", ".join(details))))


def proof_words(cause: Mapping[str, Any]) -> str:
    """Whether a run confirmed the cause."""
    return "verified by running" if cause.get("verified") else "not verified"


def ruled_out(excluded: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Codes of ruled-out causes by reason."""
    found: dict[str, list[str]] = {}
    for one in excluded:
        found.setdefault(named(one.get("why")), []).append(named(one.get("code")))
    return found


def unjudged(diagnosis: Mapping[str, Any]) -> list[str]:
    """What could not be judged, and why."""
    settings = part(diagnosis, "settings")
    subjects = (("local_problem", "isolated errors of layers"), ("calibration_problem", "calibration"))
    return [f"{subject}: {clean(settings[key])}" for key, subject in subjects if settings.get(key)]


def caveat(diagnosis: Mapping[str, Any]) -> str:
    """What a healthy verdict did not judge, for its headline; empty if it judged everything."""
    is_open = diagnosis.get("verdict") == "healthy" and part(diagnosis, "settings").get("calibration_problem")
    return "calibration not judged" if is_open else ""


def notes_of(layer: Mapping[str, Any], told: Evidence = NOTHING_TOLD) -> list[str]:
    """The sentences that explain a layer's error, except those whose content is in a cause's evidence."""
    notes = [note for note in entries(layer, "why") if isinstance(note, Mapping) and note.get("text")]
    return [clean(note["text"]) for note in notes if _TELLS.get(str(note.get("kind")), "") not in told]


def culprit_codes(diagnosis: Mapping[str, Any]) -> dict[int, list[str]]:
    """Codes of causes by the number of their layer among `layers`."""
    layers = entries(diagnosis, "layers")
    found: dict[int, list[str]] = {}
    for cause in entries(diagnosis, "causes"):
        number = place_among(layers, part(cause, "place"))
        if number is not None:
            found.setdefault(number, []).append(named(cause.get("code")))
    return found


def place_among(layers: Sequence[Mapping[str, Any]], place: Mapping[str, Any]) -> int | None:
    """The number of the layer that a cause's place names: by its tensor, otherwise by its op; None if there is none."""
    name, op = place.get("layer"), place.get("op_index")
    if name is None and op is None:
        return None
    named_so = [number for number, layer in enumerate(layers) if layer.get("name") == name]
    exact = [number for number in named_so if layers[number].get("op_index") == op]
    made = [
        number
        for number, layer in enumerate(layers)
        if op is not None and (layer.get("op_index") == op or op in entries(layer, "members"))
    ]
    return next(iter((*exact, *named_so, *made)), None)


def _constant(evidence: Evidence) -> Iterator[str]:
    name, pattern = evidence.get("constant"), evidence.get("pattern")
    if name is None:
        return
    role = clean(evidence.get("role") or "constant")
    title = layer_title(name)
    if pattern == "one_bit":
        yield (
            f"one bit of {role} {title} differs: bit {figure(evidence.get('bit'), 'g')} of value "
            f"{figure(evidence.get('at'), 'g')}, {figure(evidence.get('candidate'), '.6g')} instead of "
            f"{figure(evidence.get('reference'), '.6g')}"
        )
    elif pattern in _PATTERNS:
        words = _PATTERNS[str(pattern)].format(channels=_channels(_listed(evidence.get("channels"))))
        values = ", ".join(_changed(evidence))
        yield f"{role} {title} {words}{f': {values}' if values else ''}"


def _changed(evidence: Evidence) -> Iterator[str]:
    """How much a constant differs."""
    for key, label in (("factors", "by factors"), ("offsets", "by")):
        if evidence.get(key):
            yield f"{label} {_few(evidence[key])}"
    if is_number(evidence.get("values_beyond_precision")):
        of = f" of {evidence['values']}" if is_number(evidence.get("values")) else ""
        yield f"{evidence['values_beyond_precision']}{of} values beyond what precision explains"
    if is_number(evidence.get("relative_difference")):
        yield f"{_percent(evidence['relative_difference'])} of their size"
    if is_number(evidence.get("largest_difference_steps")):
        yield f"up to {figure(evidence['largest_difference_steps'])} quantization steps"


def _op(evidence: Evidence) -> Iterator[str]:
    if evidence.get("attribute") is not None:
        yield f"{layer_title(evidence['attribute'])} is {_instead(evidence)}"
    for key, words in (("op", "the op is"), ("activation", "the activation is"), ("inputs", "it reads")):
        pair = evidence.get(key)
        if isinstance(pair, Mapping) and {"reference", "candidate"} <= pair.keys():
            yield f"{words} {_instead(pair)}"
    if evidence.get("candidate_op") is not None:
        yield f"the op is {clean(evidence['candidate_op'])} instead of {named(evidence.get('reference_op'))}"


def _range(evidence: Evidence) -> Iterator[str]:
    if is_number(evidence.get("ranges_off")):
        ratio = figure(evidence.get("median_held_to_seen"))
        yield (
            f"{evidence['ranges_off']} of {named(evidence.get('ranges'))} activation ranges are off; the median one "
            f"holds {ratio} times what the samples need"
        )
    one = part(evidence, "first") or evidence
    if _listed(one.get("held")) and _listed(one.get("seen")):
        lead = "the first one" if one is not evidence else "the tensor"
        outside = one.get("values_outside")
        share = f"; {_percent(outside)} of the values are outside" if is_number(outside) and outside > 0 else ""
        yield f"{lead} holds {_span(one['held'])}, the samples need {_span(one['seen'])}{share}"
    for key, words in (("scale", "scale"), ("zero_point", "zero point")):
        pair = one.get(key)
        if isinstance(pair, Mapping) and is_number(pair.get("fitting")) and pair["fitting"] != pair.get("file"):
            yield f"its {words} is {figure(pair.get('file'))}, {figure(pair['fitting'])} would fit"
        elif isinstance(pair, Mapping) and is_number(pair.get("factor")):
            yield f"its {words} {figure(pair.get('file'))} is off by a factor of {figure(pair['factor'])}"


def _outputs(evidence: Evidence) -> Iterator[str]:
    """Outputs or inputs that are exchanged."""
    for one in _listed(evidence.get("outputs"))[:8]:
        if isinstance(one, Mapping) and is_number(one.get("nrmse")):
            place = one.get("place")
            places: Evidence = place if isinstance(place, Mapping) else NOTHING_TOLD
            yield (
                f"the candidate's output {layer_title(one.get('candidate'))} (number {named(places.get('candidate'))}) "
                f"has the values of the reference's {layer_title(one.get('reference'))} "
                f"(number {named(places.get('reference'))}): nRMSE {nrmse_text(one['nrmse'])}, and "
                f"{nrmse_text(one.get('nrmse_as_called'))} at the number that a caller reads"
            )
    if _listed(evidence.get("exchanged")):
        names = " and ".join(layer_title(one) for one in evidence["exchanged"])
        yield f"the inputs {names} are exchanged: fed the other way, the outputs are right"


def _per_tensor(evidence: Evidence) -> Iterator[str]:
    lost = evidence.get("largest_to_median_channel")
    if is_number(lost):
        bits = figure(evidence.get("median_bits_lost"), ".1f")
        yield (
            f"weights {layer_title(evidence.get('constant'))} have one scale for {named(evidence.get('channels'))} "
            f"channels: the largest is {figure(lost)} times the median one, which loses {bits} bits by it"
        )


def _shared_scale(evidence: Evidence) -> Iterator[str]:
    """Parts of a tensor that one scale does not resolve."""
    for one in _listed(evidence.get("lost"))[:6]:
        places = _listed(one.get("channels")) if isinstance(one, Mapping) else []
        if len(places) == 2 and all(map(is_number, places)) and _listed(one.get("range")):
            low, high = (int(place) for place in places)
            channels = f"channel {low} is" if low == high else f"channels {low}-{high} are"
            value = f" {figure(one['value'])}" if is_number(one.get("value")) else ""
            rest = (
                f"constant{value}"
                if one.get("constant")
                else f"left with {figure(one.get('steps'))} quantization steps"
            )
            yield f"{channels} lost ({rest}): {layer_title(one.get('layer'))} reaches {_span(one['range'])}"
    mask = evidence.get("mask")
    if isinstance(mask, Mapping) and _listed(evidence.get("rest")):
        size = f"{figure(mask['size'])} in size" if is_number(mask.get("size")) else "infinite"
        yield (
            f"the mask constant {layer_title(mask.get('constant'))} is {size} and sets the scale: the rest, "
            f"{_span(evidence['rest'])}, is left with {figure(evidence.get('steps'))} quantization steps"
        )
    if _listed(evidence.get("others")):
        yield (
            f"one scale, {figure(_range_scale(evidence))}, for parts of very different range: "
            f"another part needs {_span(evidence['others'])}"
        )


def _range_scale(evidence: Evidence) -> Any:
    scale = evidence.get("scale")
    return scale.get("file") if isinstance(scale, Mapping) else None


def _largest(evidence: Evidence) -> Iterator[str]:
    found = [
        f"{layer_title(one.get('layer'))} {nrmse_text(one.get('local_nrmse'))}"
        for one in _listed(evidence.get("largest_own_errors"))[:3]
        if isinstance(one, Mapping)
    ]
    if found:
        yield f"largest isolated errors: {', '.join(found)}"
    if is_number(evidence.get("root_sum_of_squares")):
        total = nrmse_text(evidence["root_sum_of_squares"])
        yield f"isolated errors of all layers add up to {total} (root of the sum of squares)"


def _kernel(evidence: Evidence) -> Iterator[str]:
    bad = evidence.get("non_finite")
    if evidence.get("pattern") is None and isinstance(bad, Mapping) and is_number(bad.get("values")):
        maker = f" from {clean(bad['op'])}" if bad.get("op") else ""
        yield f"{bad['values']} values are NaN or infinite{maker}"
    if is_number(evidence.get("local_nrmse_on_other_kernels")):
        here, there = (_kernels(evidence.get(key)) for key in ("kernels", "other_kernels"))
        wrong = "makes NaN or infinity" if bad else f"differs by nRMSE {nrmse_text(evidence.get('local_nrmse'))}"
        right = nrmse_text(evidence["local_nrmse_on_other_kernels"])
        found = f"run in isolation it {wrong} on {here}, and differs by {right} on {there}"
        yield f"{found}: the kernel is wrong, not the file"
    if evidence.get("departs"):
        agree = ", ".join(shown_accelerator(clean(one)) for one in _listed(evidence.get("agree")))
        apart = ", ".join(shown_accelerator(clean(one)) for one in _listed(evidence.get("departs")))
        yield f"{apart} diverges on the same inputs{f'; {agree} agree' if agree else ''}"
    if evidence.get("crash"):
        yield f"the process ends: {clean(evidence['crash'])}"


def _kernels(name: Any) -> str:
    """The kernels of an accelerator, by its name."""
    return _KERNELS.get(str(name)) or ("other kernels" if name is None else f"{clean(name)} kernels")


def _own(evidence: Evidence) -> Iterator[str]:
    before, after = evidence.get("local_nrmse"), evidence.get("local_nrmse_mended")
    # For a fault of kernels, it is reported together with the error on other kernels.
    if is_number(before) and "local_nrmse_on_other_kernels" not in evidence:
        mended = f", {nrmse_text(after)} with the fix" if is_number(after) else ""
        yield f"isolated error: nRMSE {nrmse_text(before)}{mended}"
    yield from _output(evidence.get("output_nrmse"), evidence.get("output_nrmse_mended"))
    beyond = _listed(evidence.get("output_nrmse_with_others_fixed"))
    if len(beyond) == 2:
        errors = f"from nRMSE {nrmse_text(beyond[0])} to {nrmse_text(beyond[1])}"
        yield f"with the other causes fixed, the output's error falls {errors}"
    inside = evidence.get("inside")
    if isinstance(inside, Mapping):
        where = f"{layer_title(inside.get('layer'))} (op {named(inside.get('op_index'))} there)"
        yield f"it is inside {named(inside.get('graph'))}: {where}"
    if evidence.get("why"):
        yield clean(evidence["why"])


def _output(before: Any, after: Any) -> Iterator[str]:
    """The effect of the fix on the whole model: often the only proof of a cause."""
    if is_number(before) and is_number(after) and after < before:
        yield f"the output's error falls from nRMSE {nrmse_text(before)} to {nrmse_text(after)} with the fix"
    elif is_number(before) and is_number(after):
        yield f"the output's error is nRMSE {nrmse_text(before)}, and {nrmse_text(after)} with the fix"
    elif is_number(after):
        yield f"with the fix the output's error is nRMSE {nrmse_text(after)}, without it there is no figure"
    elif is_number(before):
        yield f"the output's error is nRMSE {nrmse_text(before)}"


_ACCOUNTS: Final[tuple[Callable[[Evidence], Iterator[str]], ...]] = (
    _constant,
    _op,
    _outputs,
    _range,
    _per_tensor,
    _shared_scale,
    _largest,
    _kernel,
    _own,
)


def _listed(value: Any) -> list[Any]:
    """The items of a list; none if the value is not a list."""
    return list(value) if isinstance(value, list | tuple) else []


def _channels(channels: list[Any]) -> str:
    if not channels:
        return "all channels"
    if len(channels) >= 16:
        return "16 channels or more"
    return f"channel{'' if len(channels) == 1 else 's'} {_few(channels)}"


def _few(values: Any, count: int = 6) -> str:
    listed = _listed(values) if isinstance(values, list | tuple) else [values]
    shown = ", ".join(figure(one) if is_number(one) else layer_title(one) for one in listed[:count])
    return f"{shown}, …" if len(listed) > count else shown or "nothing"


def _instead(pair: Mapping[str, Any]) -> str:
    return f"{_few(pair.get('candidate'))} instead of {_few(pair.get('reference'))}"


def _span(ends: Any) -> str:
    return " to ".join(figure(end) for end in ends[:2])


def _percent(share: float) -> str:
    return f"{figure(100 * share)} %"
