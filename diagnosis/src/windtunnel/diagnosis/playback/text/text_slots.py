"""The slots of a pipeline for text: what its steps do, and what apps do instead."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.playback.synthesis.chain_search import Slot, Way
from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Step, Values, advance, begin

_CODE: Final = CauseCode.PREPROCESSING_TEXT
_FORMS: Final = ("NFC", "NFD", "NFKC", "NFKD")
_MARKS: Final = ("[CLS]", "[SEP]", "<s>", "</s>", "[BOS]", "[EOS]", "<bos>", "<eos>")


@dataclass(frozen=True, slots=True)
class TextState:
    """Samples between two slots, and fields of the next step that slots have changed."""

    values: Values
    changes: Mapping[str, Any] = field(default_factory=dict)


TextWay = Way[TextState]
TextSlot = Slot[TextState]


@dataclass(frozen=True, slots=True)
class Hints:
    """What the ids that were fed suggest: values that fill, and lengths at which texts are cut."""

    fillers: tuple[int, ...]
    lengths: tuple[int, ...]


def text_slots(steps: Sequence[Step], hints: Hints) -> list[TextSlot]:
    """The slots of a pipeline for text.

    Args:
        steps: of the pipeline.
        hints: of what was fed.

    Returns:
        The slots, in the order in which they run.
    """
    return list(_slots(steps, hints))


def _slots(steps: Sequence[Step], hints: Hints) -> Iterator[TextSlot]:
    ops = [step.op for step in steps]
    yield _slot("encoding", "texts as they were recorded", _keep, tuple(_encodings()))
    if "lowercase" not in ops:
        cases = (_of_texts("lower", "texts are lower-cased", str.lower), _UPPER)
        yield _slot("lowercase", "the case is kept", _keep, cases)
    if "normalize_unicode" not in ops:
        yield _slot("normalize_unicode", "Unicode as it was recorded", _keep, tuple(_forms(None)))
    for step in steps:
        if step.op == "tokenize":
            yield from _tokenize(step)
        elif step.op == "pad":
            yield from _pad(step, hints)
        else:
            yield _of_step(step)


def _of_step(step: Step) -> TextSlot:
    run = _step(step)
    if step.op == "lowercase":
        others = (TextWay("missing", "the case is kept", _keep),
                  _UPPER,
                  _of_texts("ascii", "only A to Z are lower-cased", _lower_ascii))  # fmt: skip
        return _slot("lowercase", "texts are lower-cased", run, others)
    if step.op == "normalize_unicode":
        words = _form_words(step.fields["form"], step.fields["strip_accents"])
        return _slot("normalize_unicode", words, run, tuple(_forms(step)))
    return _slot(step.op, f"the step {step.op}", run, ())


def _slot(name: str, words: str, run: Callable[[TextState], TextState], others: tuple[TextWay, ...]) -> TextSlot:
    return TextSlot(name, _CODE, TextWay("own", words, run), others)


def _keep(state: TextState) -> TextState:
    return state


def _step(step: Step) -> Callable[[TextState], TextState]:
    return lambda state: replace(state, values=advance(state.values, [step]))


def _of_texts(name: str, words: str, function: Callable[[str], str]) -> TextWay:
    def run(state: TextState) -> TextState:
        parts = []
        for part in state.values.parts:
            changed = np.empty(len(part), object)
            changed[:] = [function(str(one)) for one in part]
            parts.append(changed)
        return replace(state, values=replace(state.values, parts=tuple(parts)))

    return TextWay(name, words, run)


_UPPER: Final = _of_texts("upper", "texts are upper-cased", str.upper)


def _lower_ascii(text: str) -> str:
    return text.translate({ord(upper): upper.lower() for upper in string.ascii_uppercase})


def _encodings() -> Iterator[TextWay]:
    yield _of_texts("latin-1", "UTF-8 is read as Latin-1", lambda text: text.encode().decode("latin-1"))
    yield _of_texts(
        "ascii", "characters outside ASCII are left out", lambda text: text.encode("ascii", "ignore").decode()
    )
    yield _of_texts(
        "question", "characters outside ASCII become ?", lambda text: text.encode("ascii", "replace").decode()
    )
    yield _of_texts("unmarked", "punctuation is left out", lambda text: text.translate(_NO_MARKS))
    yield _of_texts("spaced", "punctuation becomes white space", lambda text: text.translate(_BLANK_MARKS))
    yield _of_texts("no digits", "digits are left out", lambda text: "".join(one for one in text if not one.isdigit()))
    yield _of_texts("casefold", "texts are case-folded", str.casefold)


def _ascii(errors: str) -> Callable[[str], str]:
    return lambda text: text.encode("ascii", errors).decode()


_NO_MARKS: Final = str.maketrans("", "", string.punctuation)
_BLANK_MARKS: Final = str.maketrans(string.punctuation, " " * len(string.punctuation))


def _forms(step: Step | None) -> Iterator[TextWay]:
    if step is not None:
        yield TextWay("missing", "Unicode is not normalized, accents stay", _keep)
    for form in _FORMS:
        for strip in (False, True):
            fields = {"form": form, "strip_accents": strip}
            if step is None or (step.fields["form"], step.fields["strip_accents"]) != (form, strip):
                run = _step(Step("normalize_unicode", fields))
                yield TextWay(f"{form} {strip}", _form_words(form, strip), run)


def _form_words(form: str, strip: bool) -> str:
    return f"Unicode in the form {form}" + (", without accents" if strip else "")


def _tokenize(step: Step) -> Iterator[TextSlot]:
    """The slots of a tokenizer: one for each thing that an app may do differently."""
    kind = step.fields["kind"]
    kinds = [TextWay(other, f"a tokenizer of the kind {other}", _change(kind=other))
             for other in ("wordpiece", "whitespace") if other != kind and kind != "bpe"]  # fmt: skip
    if kind == "wordpiece":
        split = step.fields.get("split_punctuation", True)
        words = "words end at white space only" if split else "each mark of punctuation is a word"
        kinds.append(TextWay("punctuation", words, _change(split_punctuation=not split)))
    yield _slot("kind", f"a tokenizer of the kind {kind}", _keep, tuple(kinds))
    for name in ("prefix", "suffix"):
        yield _slot(name, _mark_words(name, step.fields[name]), _keep, tuple(_marks(name, step.fields[name])))
    yield _slot("tokenize", "the tokens of the vocabulary", _tokenized(step), ())
    if (unknown := _unknown(step)) is not None:
        dropped = TextWay("dropped", "unknown words are left out", lambda state: _without(state, unknown))
        yield _slot("unknown", "unknown words have a token", _keep, (dropped,))
    yield _slot(
        "order", "tokens in the order of the text", _keep, (TextWay("reversed", "tokens are reversed", _reversed),)
    )


def _mark_words(name: str, marks: Any) -> str:
    return f"no {name}" if not marks else f"the {name} {marks if isinstance(marks, str) else ' '.join(marks)}"


def _marks(name: str, own: Any) -> Iterator[TextWay]:
    listed = () if not own else (own,) if isinstance(own, str) else tuple(own)
    if own:
        yield TextWay("missing", f"no {name}", _change(**{name: None}))
        yield TextWay("twice", f"the {name} twice", _change(**{name: [*listed, *listed]}))
    for mark in _MARKS:
        if (mark,) != listed:
            yield TextWay(mark, f"the {name} {mark}", _change(**{name: mark}))


def _change(**fields: Any) -> Callable[[TextState], TextState]:
    return lambda state: replace(state, changes={**state.changes, **fields})


def _tokenized(step: Step) -> Callable[[TextState], TextState]:
    def run(state: TextState) -> TextState:
        known = {name: value for name, value in state.changes.items() if name in step.fields}
        return TextState(advance(state.values, [step.with_fields(**known)]))

    return run


def _unknown(step: Step) -> int | None:
    """The id of unknown words; None: there is none."""
    text = np.array(["\ue000"], object)
    try:
        values = begin(text.tolist(), [step], kind="text")
        found = advance(values, [step.with_fields(prefix=None, suffix=None)]).parts[0]
    except InvalidInput:
        return None
    return int(found[0, 0]) if found.shape[-1] == 1 else None


def _without(state: TextState, unknown: int) -> TextState:
    rows = [row[row != unknown][None] for part in state.values.parts for row in part]
    return replace(state, values=replace(state.values, parts=tuple(rows)))


def _reversed(state: TextState) -> TextState:
    return replace(state, values=replace(state.values, parts=tuple(part[:, ::-1] for part in state.values.parts)))


def _pad(step: Step, hints: Hints) -> Iterator[TextSlot]:
    length, value = step.fields["length"], step.fields["value"]
    side = (TextWay("front", "ids are filled at the front", _change(front=True)),)
    yield _slot("pad side", "ids are filled at the end", _keep, side)
    values = dict.fromkeys((*hints.fillers, 0, 1, 2, 3, -1))
    fillers = tuple(TextWay(f"value {one}", f"ids are filled with {one}", _change(value=one))
                    for one in values if one != value)  # fmt: skip
    yield _slot("pad value", f"ids are filled with {value:g}", _keep, fillers)
    cuts = [TextWay("front", "long texts are cut at the front", _change(cut="front")),
            TextWay("middle", "long texts are cut in the middle", _change(cut="middle")),
            *(TextWay(f"last {count}", f"long texts are cut before the last {count} tokens, which stay",
                      _change(cut=count)) for count in (1, 2)),
            *(TextWay(f"first {count}", f"long texts are cut at the front, after the first {count} tokens, which stay",
                      _change(cut=-count)) for count in (1, 2))]  # fmt: skip
    yield _slot("truncation", "long texts are cut at the end", _keep, tuple(cuts))
    limits = [one for one in dict.fromkeys((*hints.lengths, length // 2, length - 1, length - 2)) if 0 < one < length]
    shorter = tuple(TextWay(f"length {one}", f"texts are cut to {one} tokens", _change(limit=one)) for one in limits)
    yield _slot(
        "pad", f"texts have {length} tokens", _padded(int(length), value), _then_padded(shorter, int(length), value)
    )


def _then_padded(ways: Sequence[TextWay], length: int, value: Any) -> tuple[TextWay, ...]:
    """Ways that change fields and then fill."""
    fill = _padded(length, value)
    return tuple(replace(way, run=_both(way.run, fill)) for way in ways)


def _both(
    first: Callable[[TextState], TextState], second: Callable[[TextState], TextState]
) -> Callable[[TextState], TextState]:
    return lambda state: second(first(state))


def _padded(length: int, value: Any) -> Callable[[TextState], TextState]:
    def run(state: TextState) -> TextState:
        changes = state.changes
        rows = [row for part in state.values.parts for row in part]
        limit = changes.get("limit", length)
        result = np.full((len(rows), length), changes.get("value", value), np.int64)
        for target, row in zip(result, rows, strict=True):
            kept = _cut(row, limit, changes.get("cut", "end"))
            place = slice(length - len(kept), length) if changes.get("front") else slice(0, len(kept))
            target[place] = kept
        return TextState(replace(state.values, parts=(result,)))

    return run


def _cut(row: Any, limit: int, cut: str | int) -> Any:
    if len(row) <= limit:
        return row
    if cut == "front":
        return row[-limit:]
    if cut == "middle":
        return np.concatenate([row[: limit - limit // 2], row[len(row) - limit // 2 :]])
    if isinstance(cut, int) and cut > 0:
        return np.concatenate([row[: limit - cut], row[-cut:]])
    if isinstance(cut, int):
        return np.concatenate([row[:-cut], row[len(row) - limit - cut :]])
    return row[:limit]
