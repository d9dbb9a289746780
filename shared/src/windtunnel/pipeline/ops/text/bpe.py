"""Byte-pair encoding from a Hugging Face tokenizer.json, as `encode(text, add_special_tokens=False)`.

Source: huggingface/tokenizers 0.22, `models/bpe`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.pipeline.ops.text.tokenizer_json import Cut, Normalize, normalizer, pre_tokenizer
from windtunnel.pipeline.ops.text.vocabulary import KEPT, id_of, read_text, unknown_token

_WORDS_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Merges:
    """The model: ids of tokens, and which pairs become one token, the lower rank first."""

    vocabulary: Mapping[str, int]
    ranks: Mapping[tuple[str, str], int]
    unknown: int | None
    continuing: str
    ending: str
    fuse_unknown: bool
    byte_fallback: bool
    whole_words_first: bool


@dataclass(frozen=True, slots=True)
class BytePairs:
    """A tokenizer of byte pairs. `added`: tokens that are looked for in the text itself."""

    merges: Merges
    normalize: Normalize
    cut: Cut
    added: Mapping[str, int]
    added_pattern: re.Pattern[str] | None
    # Words that were cut before.
    known: dict[str, list[int]]

    def ids(self, text: str) -> list[int]:
        """The ids of the tokens of a text.

        Args:
            text: any.

        Returns:
            The ids, in the order of the text.

        Raises:
            InvalidInput: a character is not known, and there is no token for unknown ones.
        """
        found: list[int] = []
        first = True
        for piece, added in _parts(text, self.added_pattern):
            if added:
                found.append(self.added[piece])
            else:
                for word in self.cut(self.normalize(piece), first):
                    found += self._word(word)
            first = False
        return found

    def ids_of(self, tokens: Sequence[str], field: str) -> list[int]:
        """The ids of tokens that a step names.

        Args:
            tokens: of the vocabulary.
            field: of the step, for the message.

        Returns:
            The ids.

        Raises:
            InvalidInput: the vocabulary lacks one.
        """
        both = {**self.merges.vocabulary, **self.added}
        return [id_of(both, token, field) for token in tokens]

    def _word(self, word: str) -> list[int]:
        if word not in self.known:
            if len(self.known) >= _WORDS_KEPT:
                self.known.clear()
            self.known[word] = _merged(word, self.merges)
        return self.known[word]


def _parts(text: str, pattern: re.Pattern[str] | None) -> Iterator[tuple[str, bool]]:
    """The pieces of a text, and whether each is an added token."""
    end = 0
    for found in pattern.finditer(text) if pattern is not None else ():
        if found.start() > end:
            yield text[end : found.start()], False
        yield found.group(), True
        end = found.end()
    if end < len(text):
        yield text[end:], False


def _merged(word: str, by: Merges) -> list[int]:
    """The ids of a word: the pair of the lowest rank becomes one token, again and again, the left one first."""
    if by.whole_words_first and word in by.vocabulary:
        return [by.vocabulary[word]]
    symbols = [
        (by.continuing if place else "") + one + (by.ending if place == len(word) - 1 else "")
        for place, one in enumerate(word)
    ]
    symbols = [part for symbol in symbols for part in _known_parts(symbol, by)]
    while len(symbols) > 1:
        ranked = [(by.ranks.get(pair, len(by.ranks)), place) for place, pair in enumerate(pairwise(symbols))]
        rank, place = min(ranked)
        if rank == len(by.ranks):
            break
        symbols[place : place + 2] = [symbols[place] + symbols[place + 1].removeprefix(by.continuing)]
    return list(_ids(symbols, word, by))


def _known_parts(symbol: str, by: Merges) -> list[str]:
    """A symbol, or its bytes if the vocabulary lacks it and has them."""
    if symbol in by.vocabulary or not by.byte_fallback:
        return [symbol]
    parts = [f"<0x{byte:02X}>" for byte in symbol.encode()]
    return parts if all(part in by.vocabulary for part in parts) else [symbol]


def _ids(symbols: Sequence[str], word: str, by: Merges) -> Iterator[int]:
    after_unknown = False
    for symbol in symbols:
        found = by.vocabulary.get(symbol)
        if found is not None:
            yield found
        elif by.unknown is None:
            raise unknown_token(word)
        elif not (after_unknown and by.fuse_unknown):
            yield by.unknown
        after_unknown = found is None


@lru_cache(maxsize=KEPT)
def read_bpe(path: Path, version: object, unknown: str | None) -> BytePairs:
    """Reads a tokenizer.json of byte pairs.

    Args:
        path: of the file.
        version: from `file_version`.
        unknown: the token for what the vocabulary lacks; None: the one that the file names.

    Returns:
        The tokenizer.

    Raises:
        InvalidInput: it is not such a file.
        Unsupported: a part of it is not supported.
    """
    try:
        content = json.loads(read_text(path))
        model = content["model"]
        if model.get("type", "BPE") != "BPE" or "merges" not in model:
            raise Unsupported(
                f"field 'vocabulary': the model of {path} is {model.get('type')!r}, not BPE",
                hint='kind "bpe" reads a tokenizer.json whose model is BPE',
            )
        added = {str(one["content"]): int(one["id"]) for one in content.get("added_tokens") or ()}
        return BytePairs(
            _merges(model, added, unknown),
            normalizer(content.get("normalizer")),
            pre_tokenizer(content.get("pre_tokenizer")),
            added,
            _added_pattern(added),
            {},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"field 'vocabulary': {path} is not a tokenizer.json: {type(error).__name__} {error}",
            hint="save it with `tokenizer.save(...)` of the library tokenizers",
        ) from error


def _merges(model: Mapping[str, Any], added: Mapping[str, int], unknown: str | None) -> Merges:
    vocabulary: dict[str, int] = dict(model["vocab"])
    pairs = [tuple(one.split(" ")) if isinstance(one, str) else tuple(one) for one in model["merges"]]
    named = model.get("unk_token") if unknown is None else unknown
    return Merges(
        vocabulary,
        {(left, right): rank for rank, (left, right) in enumerate(pairs)},
        None if named is None else id_of({**vocabulary, **added}, named, "unknown"),
        model.get("continuing_subword_prefix") or "",
        model.get("end_of_word_suffix") or "",
        bool(model.get("fuse_unk")),
        bool(model.get("byte_fallback")),
        bool(model.get("ignore_merges")),
    )


def _added_pattern(added: Mapping[str, int]) -> re.Pattern[str] | None:
    longest_first = sorted(filter(None, added), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
