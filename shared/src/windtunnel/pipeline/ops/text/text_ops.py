"""The ops on texts: (n,) arrays of str, and ids of their tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from windtunnel.errors import InvalidInput
from windtunnel.pipeline.ops.op_values import Array, At, Fields
from windtunnel.pipeline.ops.text.bpe import read_bpe
from windtunnel.pipeline.ops.text.vocabulary import Tokenizer, file_version
from windtunnel.pipeline.ops.text.wordpiece import read_whitespace, read_wordpiece


def lowercase(texts: Array, fields: Fields, at: At) -> Array:
    """Lower case, as Unicode's full mapping gives it.

    Args:
        texts: (n,) of str.
        fields: none.
        at: the place of the step.

    Returns:
        (n,) of str.
    """
    return text_array([text.lower() for text in _texts(texts, at)])


def normalize_unicode(texts: Array, fields: Fields, at: At) -> Array:
    """A Unicode normal form.

    Args:
        texts: (n,) of str.
        fields: `form`; `strip_accents`: combining marks are removed from the decomposed text first.
        at: the place of the step.

    Returns:
        (n,) of str.
    """
    form = fields["form"]
    result = [unicodedata.normalize(form, text) for text in _texts(texts, at)]
    if fields["strip_accents"]:
        result = [unicodedata.normalize(form, without_accents(text)) for text in result]
    return text_array(result)


def without_accents(text: str) -> str:
    """A text without combining marks.

    Args:
        text: any.

    Returns:
        The decomposed text (NFD) without characters of the category Mn.
    """
    return "".join(one for one in unicodedata.normalize("NFD", text) if unicodedata.category(one) != "Mn")


def tokenize(texts: Array, fields: Fields, at: At) -> Sequence[Array]:
    """The ids of the tokens of each text.

    Args:
        texts: (n,) of str.
        fields: `vocabulary` (the path of a file), `kind`, `unknown`, `prefix`, `suffix`, `split_punctuation`.
        at: the place of the step.

    Returns:
        For each text int32 (1, tokens).

    Raises:
        InvalidInput: the vocabulary cannot be used, or a text has a token that it lacks and there is no token for
            unknown ones.
    """
    try:
        tokenizer = _tokenizer(fields)
        before, after = (tokenizer.ids_of(_listed(fields[name]), name) for name in ("prefix", "suffix"))
        return [
            np.array([[*before, *tokenizer.ids(text), *after]], np.int32).reshape(1, -1) for text in _texts(texts, at)
        ]
    except InvalidInput as error:
        raise InvalidInput(f"{at.where}: {error.message}", hint=error.hint) from None


def mask(ids: Array, fields: Fields, at: At) -> Array:
    """`value` for every token: after it, `pad` with 0 gives the attention mask of the ids; 0 gives segment ids.

    Args:
        ids: of tokens (n, tokens).
        fields: `value`.
        at: the place of the step.

    Returns:
        int32 (n, tokens).

    Raises:
        InvalidInput: the values are not ids.
    """
    if ids.dtype.kind not in "iu" or ids.ndim != 2:
        raise InvalidInput(
            f"{at.where}: works on ids, not on {ids.dtype} {list(ids.shape)}", hint="put it after tokenize"
        )
    return np.full(ids.shape, fields["value"], np.int32)


def text_array(texts: Sequence[str]) -> Array:
    """Texts as an array of any lengths.

    Args:
        texts: of the samples.

    Returns:
        (n,) of str, as objects.
    """
    result = np.empty(len(texts), object)
    result[:] = list(texts)
    return result


def _texts(texts: Array, at: At) -> list[str]:
    if texts.dtype.kind not in "UO" or texts.ndim != 1:
        raise InvalidInput(
            f"{at.where}: works on texts, not on {texts.dtype} {list(texts.shape)}", hint="put it before tokenize"
        )
    listed: list[str] = texts.tolist()
    return listed


def _tokenizer(fields: Fields) -> Tokenizer:
    path = Path(fields["vocabulary"])
    version, kind = file_version(path), fields["kind"]
    if kind == "bpe":
        return read_bpe(path, version, fields["unknown"])
    if kind == "whitespace":
        return read_whitespace(path, version, fields["unknown"])
    return read_wordpiece(path, version, fields["unknown"], fields["split_punctuation"])


def _listed(value: str | Sequence[str] | None) -> Sequence[str]:
    return () if value is None else (value,) if isinstance(value, str) else value
