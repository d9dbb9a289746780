"""The parts of a Hugging Face tokenizer.json that prepare a text for the model: normalizers and pre-tokenizers.

Source: huggingface/tokenizers 0.22, `normalizers` and `pre_tokenizers`. A part that is not known is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.pipeline.ops.text.unicode_regex import compiled

Normalize = Callable[[str], str]
# From a piece of the text to smaller ones; the flag says whether the piece begins the text.
Cut = Callable[[str, bool], list[str]]
_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# What \w is by Unicode; Python's takes other numbers in and leaves marks out.
_WORD: Final = r"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\u200c\u200d"
_FORMS: Final = ("NFC", "NFD", "NFKC", "NFKD")


def normalizer(part: Mapping[str, Any] | None) -> Normalize:
    """What a tokenizer does with a text before it is cut.

    Args:
        part: `normalizer` of a tokenizer.json.

    Returns:
        The function.

    Raises:
        Unsupported: a normalizer that is not known.
        InvalidInput: a field is missing.
    """
    if part is None:
        return lambda text: text
    kind = part.get("type")
    if kind == "Sequence":
        steps = [normalizer(one) for one in _field(part, "normalizers")]
        return lambda text: _through(steps, text)
    if kind in _FORMS:
        return lambda text: unicodedata.normalize(kind, text)
    if kind == "Lowercase":
        return str.lower
    if kind == "StripAccents":
        return lambda text: "".join(one for one in text if unicodedata.category(one) != "Mn")
    if kind == "Prepend":
        prefix = _field(part, "prepend")
        return lambda text: prefix + text if text else text
    if kind == "Replace":
        pattern, content = _pattern(_field(part, "pattern")), _field(part, "content")
        return lambda text: pattern.sub(lambda _: content, text)
    if kind == "Strip":
        left, right = part.get("strip_left", True), part.get("strip_right", True)
        return lambda text: (text.lstrip() if left else text) if not right else text.strip() if left else text.rstrip()
    raise _unsupported("normalizer", kind)


def _through(steps: Sequence[Normalize], text: str) -> str:
    for step in steps:
        text = step(text)
    return text


def pre_tokenizer(part: Mapping[str, Any] | None) -> Cut:
    """How a tokenizer cuts a text before the model does.

    Args:
        part: `pre_tokenizer` of a tokenizer.json.

    Returns:
        The function.

    Raises:
        Unsupported: a pre-tokenizer that is not known.
        InvalidInput: a field is missing.
    """
    if part is None:
        return lambda text, _: [text]
    kind = part.get("type")
    if kind == "Sequence":
        cuts = [pre_tokenizer(one) for one in _field(part, "pretokenizers")]
        return lambda text, first: _cut_by_all(cuts, text, first)
    if kind == "ByteLevel":
        return _byte_level(part)
    if kind == "Metaspace":
        return _metaspace(part)
    if kind == "Whitespace":
        words = compiled(rf"[{_WORD}]+|[^\s{_WORD}]+")
        return lambda text, _: words.findall(text)
    if kind == "WhitespaceSplit":
        return lambda text, _: text.split()
    if kind == "Digits":
        return _split(re.compile(r"\d" if part.get("individual_digits") else r"\d+"), "Isolated", False)
    if kind == "Split":
        pattern = _pattern(_field(part, "pattern"))
        return _split(pattern, _field(part, "behavior"), bool(part.get("invert")))
    if kind == "Punctuation":
        return _split(compiled(r"[\p{P}!-/:-@\[-`{-~]"), part.get("behavior", "Isolated"), False)
    raise _unsupported("pre-tokenizer", kind)


def _cut_by_all(cuts: Sequence[Cut], text: str, first: bool) -> list[str]:
    pieces = [text]
    for cut in cuts:
        pieces = [one for number, piece in enumerate(pieces) for one in cut(piece, first and number == 0)]
    return pieces


def _byte_level(part: Mapping[str, Any]) -> Cut:
    prefixed, by_regex = part.get("add_prefix_space", True), part.get("use_regex", True)

    def cut(text: str, first: bool) -> list[str]:
        if prefixed and not text.startswith(" "):
            text = f" {text}"
        pieces = compiled(_GPT2).findall(text) if by_regex else [text]
        return ["".join(BYTE_CHARACTERS[byte] for byte in piece.encode()) for piece in pieces]

    return cut


def _byte_characters() -> list[str]:
    """A printable character for each byte, as GPT-2 has them: itself, or one from U+0100 on."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = iter(range(0x100, 0x200))
    return [chr(byte) if byte in kept else chr(next(moved)) for byte in range(0x100)]


BYTE_CHARACTERS: Final = _byte_characters()


def _metaspace(part: Mapping[str, Any]) -> Cut:
    mark = part.get("replacement", "▁")
    scheme = part.get("prepend_scheme") or ("always" if part.get("add_prefix_space", True) else "never")
    by_mark = _split(re.compile(re.escape(mark)), "MergedWithNext", False)

    def cut(text: str, first: bool) -> list[str]:
        text = text.replace(" ", mark)
        if (scheme == "always" or (scheme == "first" and first)) and not text.startswith(mark):
            text = mark + text
        return by_mark(text, first) if part.get("split", True) else [text]

    return cut


def _split(pattern: re.Pattern[str], behavior: str, invert: bool) -> Cut:
    if behavior not in _JOINS:
        raise _unsupported("behavior of a split", behavior)
    return lambda text, _: [piece for piece in _JOINS[behavior](list(_marked(pattern, text, invert))) if piece]


def _marked(pattern: re.Pattern[str], text: str, invert: bool) -> Iterator[tuple[str, bool]]:
    """The pieces of a text, and whether each is a delimiter."""
    end = 0
    for found in pattern.finditer(text):
        if found.start() > end:
            yield text[end : found.start()], invert
        if found.group():
            yield found.group(), not invert
        end = found.end()
    if end < len(text):
        yield text[end:], invert


def _joined_to_previous(pieces: Sequence[tuple[str, bool]]) -> list[str]:
    joined: list[str] = []
    after_delimiter = True
    for piece, delimiter in pieces:
        if delimiter and not after_delimiter:
            joined[-1] += piece
        else:
            joined.append(piece)
        after_delimiter = delimiter
    return joined


def _joined_to_next(pieces: Sequence[tuple[str, bool]]) -> list[str]:
    turned = [(piece[::-1], delimiter) for piece, delimiter in reversed(pieces)]
    return [piece[::-1] for piece in reversed(_joined_to_previous(turned))]


_JOINS: Final[Mapping[str, Callable[[Sequence[tuple[str, bool]]], list[str]]]] = {
    "Removed": lambda pieces: [piece for piece, delimiter in pieces if not delimiter],
    "Isolated": lambda pieces: [piece for piece, _ in pieces],
    "Contiguous": lambda pieces: ["".join(piece for piece, _ in run) for _, run in groupby(pieces, lambda one: one[1])],
    "MergedWithPrevious": _joined_to_previous,
    "MergedWithNext": _joined_to_next,
}


def _pattern(value: Any) -> re.Pattern[str]:
    if isinstance(value, Mapping) and isinstance(value.get("Regex"), str):
        return compiled(value["Regex"])
    if isinstance(value, Mapping) and isinstance(value.get("String"), str):
        return re.compile(re.escape(value["String"]))
    raise _unsupported("pattern", value)


def _field(part: Mapping[str, Any], name: str) -> Any:
    if name not in part:
        raise InvalidInput(f"field 'vocabulary': the tokenizer's part {part.get('type')!r} has no field {name!r}")
    return part[name]


def _unsupported(what: str, kind: Any) -> Unsupported:
    return Unsupported(
        f"the tokenizer's {what} {str(kind)[:60]!r} is not supported",
        hint="tokenize the samples beforehand and leave the step out",
    )
