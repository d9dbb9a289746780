"""Vocabularies: the ids of tokens, read from files, and what every tokenizer does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from windtunnel.errors import InvalidInput

MAX_VOCABULARY_BYTES: Final = 64 * 1024**2
# So many files stay in memory, parsed.
KEPT: Final = 8
_SHOWN: Final = 40


class Tokenizer(Protocol):
    """Cuts texts into tokens of a vocabulary."""

    def ids(self, text: str) -> list[int]:
        """The ids of the tokens of a text.

        Args:
            text: any.

        Returns:
            The ids, in the order of the text.
        """
        ...

    def ids_of(self, tokens: Sequence[str], field: str) -> list[int]:
        """The ids of tokens that a step names.

        Args:
            tokens: of the vocabulary.
            field: of the step, for the message.

        Returns:
            The ids.
        """
        ...


def file_version(path: Path) -> tuple[int, int]:
    """What changes if a file changes: part of the key of what was parsed of it.

    Args:
        path: of the file.

    Returns:
        Its time and size.

    Raises:
        InvalidInput: there is no such file, or it is too large.
    """
    try:
        found = path.stat()
    except OSError:
        raise InvalidInput(
            f"field 'vocabulary': there is no file {path}", hint="the path is relative to the pipeline.json"
        ) from None
    if not path.is_file() or found.st_size > MAX_VOCABULARY_BYTES:
        raise InvalidInput(
            f"field 'vocabulary': {path} is not a file of at most {MAX_VOCABULARY_BYTES} bytes",
            hint="a text file with one token per line, or a tokenizer.json",
        )
    return found.st_mtime_ns, found.st_size


def read_text(path: Path) -> str:
    """The text of a vocabulary.

    Args:
        path: of the file.

    Returns:
        The text.

    Raises:
        InvalidInput: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"field 'vocabulary': {path} cannot be read as UTF-8 text: {error}", hint="save it as UTF-8"
        ) from error


def read_lines(path: Path) -> dict[str, int]:
    """The vocabulary of a text file with one token per line: its id is the number of the line, from 0.

    Args:
        path: of the file.

    Returns:
        Ids by token; of a token that appears twice the last one, as BERT's reader does it.

    Raises:
        InvalidInput: it cannot be read, or has no tokens.
    """
    lines = read_text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    vocabulary = {line.removesuffix("\r").strip(): number for number, line in enumerate(lines)}
    if not vocabulary:
        raise InvalidInput(f"field 'vocabulary': {path} has no tokens", hint="one token per line")
    return vocabulary


def id_of(vocabulary: Mapping[str, int], token: str, field: str) -> int:
    """The id of a token that a step names.

    Args:
        vocabulary: ids by token.
        token: as the step names it.
        field: of the step.

    Returns:
        The id.

    Raises:
        InvalidInput: the vocabulary lacks it.
    """
    if token not in vocabulary:
        raise InvalidInput(
            f"field {field!r}: the vocabulary has no token {token[:_SHOWN]!r}",
            hint=f"it has {len(vocabulary)} tokens, such as {next(iter(vocabulary))[:_SHOWN]!r}",
        )
    return vocabulary[token]


def unknown_token(word: str) -> InvalidInput:
    """The error for a word that the vocabulary lacks if there is no token for unknown ones.

    Args:
        word: of the text.

    Returns:
        The error.
    """
    return InvalidInput(
        f"the vocabulary has no token for {word[:_SHOWN]!r}",
        hint='name its token for unknown words in the field "unknown"',
    )
