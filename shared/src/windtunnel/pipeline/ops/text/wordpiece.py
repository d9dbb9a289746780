"""Tokens by words: whole ones (whitespace), or the longest known pieces (wordpiece, as BERT cuts them).

Source: google-research/bert `tokenization.py`, `BasicTokenizer` without lower-casing and `WordpieceTokenizer`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from windtunnel.pipeline.ops.text.vocabulary import KEPT, id_of, read_lines, unknown_token

# Of a text file, if a step names none.
DEFAULT_UNKNOWN: Final = "[UNK]"
_CONTINUES: Final = "##"
# BERT gives up on longer words.
_LONGEST_WORD: Final = 200
# Ranges of Chinese characters, each of which BERT takes for a word; kana and hangul are not among them.
_CHINESE: Final = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


@dataclass(frozen=True, slots=True)
class Words:
    """Whole words between white space."""

    vocabulary: Mapping[str, int]
    unknown: int | None

    def ids(self, text: str) -> list[int]:
        """The ids of the words of a text.

        Args:
            text: any.

        Returns:
            The ids, in the order of the text.

        Raises:
            InvalidInput: a word is not known, and there is no token for unknown ones.
        """
        return [self._id(word) for word in text.split()]

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
        return [id_of(self.vocabulary, token, field) for token in tokens]

    def _id(self, word: str) -> int:
        found = self.vocabulary.get(word, self.unknown)
        if found is None:
            raise unknown_token(word)
        return found


@dataclass(frozen=True, slots=True)
class WordPiece(Words):
    """Words, and in each the longest known pieces from left to right; a word with an unknown piece is unknown."""

    split_punctuation: bool

    def ids(self, text: str) -> list[int]:
        """The ids of the pieces of a text.

        Args:
            text: any.

        Returns:
            The ids, in the order of the text.

        Raises:
            InvalidInput: a word is not known, and there is no token for unknown ones.
        """
        words = bert_words(text) if self.split_punctuation else iter(text.split())
        return [piece for word in words for piece in self._pieces(word)]

    def _pieces(self, word: str) -> list[int]:
        pieces: list[int] = []
        start = 0
        while start < len(word) <= _LONGEST_WORD:
            for end in range(len(word), start, -1):
                piece = (_CONTINUES if start else "") + word[start:end]
                if piece in self.vocabulary:
                    pieces.append(self.vocabulary[piece])
                    start = end
                    break
            else:
                break
        if start == len(word):
            return pieces
        if self.unknown is None:
            raise unknown_token(word)
        return [self.unknown]


def bert_words(text: str) -> Iterator[str]:
    """The words of a text as BERT cuts it: white space parts them, each mark of punctuation is a word.

    Args:
        text: any; control characters are left out.

    Yields:
        The words.
    """
    word: list[str] = []
    for one in text:
        category = unicodedata.category(one)
        if one in "\t\n\r" or category.startswith("Z"):
            alone, one = True, ""
        elif ord(one) in (0, 0xFFFD) or category in ("Cc", "Cf"):
            continue
        else:
            alone = is_punctuation(one, category) or any(low <= ord(one) <= high for low, high in _CHINESE)
        if not alone:
            word.append(one)
            continue
        if word:
            yield "".join(word)
            word.clear()
        if one:
            yield one
    if word:
        yield "".join(word)


def is_punctuation(one: str, category: str) -> bool:
    """Whether BERT takes a character for punctuation: all ASCII that is not a letter, a digit or white space is.

    Args:
        one: the character.
        category: of Unicode.
    """
    return category.startswith("P") or (ord(one) < 128 and one.isprintable() and not one.isalnum() and one != " ")


@lru_cache(maxsize=KEPT)
def read_wordpiece(path: Path, version: object, unknown: str | None, split_punctuation: bool) -> WordPiece:
    """Reads the vocabulary of a WordPiece tokenizer.

    Args:
        path: of a text file with one token per line.
        version: from `file_version`.
        unknown: the token for words that it lacks; None: `[UNK]` if the vocabulary has it.
        split_punctuation: whether words are cut as BERT does; otherwise at white space only.

    Returns:
        The tokenizer.

    Raises:
        InvalidInput: the file cannot be used.
    """
    vocabulary = read_lines(path)
    return WordPiece(vocabulary, _unknown(vocabulary, unknown), split_punctuation)


@lru_cache(maxsize=KEPT)
def read_whitespace(path: Path, version: object, unknown: str | None) -> Words:
    """Reads the vocabulary of whole words.

    Args:
        path: of a text file with one token per line.
        version: from `file_version`.
        unknown: the token for words that it lacks; None: `[UNK]` if the vocabulary has it.

    Returns:
        The tokenizer.

    Raises:
        InvalidInput: the file cannot be used.
    """
    vocabulary = read_lines(path)
    return Words(vocabulary, _unknown(vocabulary, unknown))


def _unknown(vocabulary: Mapping[str, int], named: str | None) -> int | None:
    return vocabulary.get(DEFAULT_UNKNOWN) if named is None else id_of(vocabulary, named, "unknown")
