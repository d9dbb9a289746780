"""How an app makes ids of a text: all that can differ from one app to another, as values."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.app_faults.texts.texts import pieces, whole_words


@dataclass(frozen=True)
class TextModel:
    """A classifier of texts. `kind`: wordpiece or whitespace; `form`: of Unicode."""

    name: str
    kind: str
    form: str
    unknown: str
    prefix: tuple[str, ...]
    suffix: tuple[str, ...]
    length: int
    value: int

    def vocabulary(self) -> list[str]:
        """Its tokens in order."""
        return pieces() if self.kind == "wordpiece" else whole_words()

    def pipeline(self) -> dict[str, Any]:
        """The reference preprocessing as the content of a pipeline.json; its vocabulary is in vocabulary.txt."""
        tokenize: dict[str, Any] = {"op": "tokenize", "vocabulary": "vocabulary.txt", "kind": self.kind}
        tokenize |= {"unknown": self.unknown}
        tokenize |= {"prefix": list(self.prefix)} if self.prefix else {}
        tokenize |= {"suffix": list(self.suffix)} if self.suffix else {}
        steps = [
            {"op": "normalize_unicode", "form": self.form},
            {"op": "lowercase"},
            tokenize,
            {"op": "pad", "length": self.length, "value": self.value},
        ]
        return {"schema": "windtunnel.pipeline/1", "task": "text", "steps": steps}


TEXT_MODELS = {
    model.name: model
    for model in (
        TextModel("text_pieces", "wordpiece", "NFKC", "[UNK]", ("[CLS]",), ("[SEP]",), 32, 0),
        TextModel("text_words", "whitespace", "NFC", "<unk>", ("<s>",), (), 16, 0),
    )
}


@dataclass(frozen=True)
class TextApp:
    """An app. A right one has no fault in any of these.

    Attributes:
        form: of Unicode, or empty.
        lower: whether it is made lower case.
        kind: wordpiece or whitespace.
        unknown: the token for words that are not known.
        prefix: tokens before.
        suffix: tokens after.
        length: of what is fed.
        cut: where longer texts are cut; less than `length`: the rest is padding.
        value: of the padding.
        left: the padding comes first.
        shift: added to every id.
        reversed_order: the vocabulary is another file.
    """

    form: str
    lower: bool
    kind: str
    unknown: str
    prefix: tuple[str, ...]
    suffix: tuple[str, ...]
    length: int
    cut: int
    value: int
    left: bool = False
    shift: int = 0
    reversed_order: bool = False


def right_app(model: TextModel) -> TextApp:
    """The app without a fault.

    Args:
        model: its model.

    Returns:
        The app.
    """
    end = (model.prefix, model.suffix, model.length, model.length, model.value)
    return TextApp(model.form, True, model.kind, model.unknown, *end)


def prepared(app: TextApp, model: TextModel, lines: Sequence[str]) -> list[NDArray[np.int32]]:
    """What reaches the model, text by text.

    Args:
        app: the app.
        model: its model.
        lines: texts.

    Returns:
        Ids (length,).
    """
    vocabulary = model.vocabulary()
    ids = {token: at for at, token in enumerate(reversed(vocabulary) if app.reversed_order else vocabulary)}
    return [_one(app, ids, line) for line in lines]


def _one(app: TextApp, ids: Mapping[str, int], line: str) -> NDArray[np.int32]:
    line = unicodedata.normalize(app.form, line) if app.form else line  # type: ignore[arg-type]
    line = line.lower() if app.lower else line
    tokens = _pieces(line, ids, app.unknown) if app.kind == "wordpiece" else line.split()
    tokens = [*app.prefix, *tokens, *app.suffix]
    found = [ids.get(token, ids[app.unknown]) + app.shift for token in tokens][: app.cut]
    rest = [app.value] * (app.length - len(found))
    return np.asarray(rest + found if app.left else found + rest, np.int32)


def _pieces(line: str, ids: Mapping[str, int], unknown: str) -> list[str]:
    """The longest known beginning of each word, then of its rest; a word with an unknown part is unknown."""
    words = re.findall(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*|[^\w\s]|_", line)
    tokens: list[str] = []
    for word in words:
        parts: list[str] = []
        at = 0
        while at < len(word):
            mark = "##" if at else ""
            ends = [end for end in range(len(word), at, -1) if mark + word[at:end] in ids]
            if not ends:
                parts = [unknown]
                break
            parts.append(mark + word[at : ends[0]])
            at = ends[0]
        tokens += parts
    return tokens
