"""The steps that work on texts and ids."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from windtunnel.pipeline.document.field_types import Whole, WithoutNull, Word, Words
from windtunnel.pipeline.document.op import Op


class Lowercase(Op):
    """Lower case."""

    op: Literal["lowercase"]


class NormalizeUnicode(Op):
    """A Unicode normal form."""

    op: Literal["normalize_unicode"]
    form: Literal["NFC", "NFD", "NFKC", "NFKD"]
    strip_accents: bool = Field(False, description="combining marks are removed, as BERT's uncased models do")


class Tokenize(Op):
    """Ids of tokens. wordpiece and whitespace: a text file, one token per line; bpe: a tokenizer.json."""

    op: Literal["tokenize"]
    vocabulary: Word = Field(description="a path, relative to the pipeline.json; in a run an artifact, sha256:<hex>")
    kind: Literal["wordpiece", "bpe", "whitespace"]
    unknown: Annotated[Word | None, WithoutNull] = Field(
        None, description="the token for what the vocabulary lacks; absent: [UNK], or what the tokenizer.json names"
    )
    prefix: Annotated[Words | None, WithoutNull] = Field(
        None, description="tokens before those of the text, such as [CLS]"
    )
    suffix: Annotated[Words | None, WithoutNull] = Field(
        None, description="tokens after those of the text, such as [SEP]"
    )
    split_punctuation: bool = Field(
        True, description="wordpiece: each mark of punctuation is a word, as in BERT; false: words end at white space"
    )


class Mask(Op):
    """Replaces each id by `value`, before pad: 1 gives an attention mask, 0 segment ids."""

    op: Literal["mask"]
    value: Whole = 1
