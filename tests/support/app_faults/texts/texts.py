"""Raw texts with known classes, drawn from a seed, and the vocabularies of their models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CLASSES = ("sport", "food", "weather", "music")
KINDS = ("plain", "plain_ascii", "shouting", "short", "strange")
_WORDS = {
    "sport": "match goal player team coach league scored winning running stadium Málaga Zürich keeper penalty",
    "food": "café crème brûlée jalapeño bread baking cooked soup piñata flavor restaurant tasty spicy sauté",
    "weather": "storm rain sunny clouds freezing wind forecast Köln snowing humid thunder degrees warmer fog",
    "music": "guitar concert singer Beyoncé Motörhead playing chords album drummer melody encore naïve louder song",
}
_COMMON = "the a was very and we in it with at to of this is not so again after before today"
# Words that no vocabulary has, and letters that a Unicode form changes.
_STRANGE = ("xylqz", "zzyzx", "qwrtp")
_PIECES = (
    "##s ##ing ##ed ##er ##est ##ly ##ly ##n ##t ##e ##a ##o ##i ##r ##l ##m ##u ##d ##c ##h ##p ##g ##y ##k ##b ##w"
)
_FULL_WIDTH = str.maketrans({letter: chr(ord(letter) - 0x21 + 0xFF01) for letter in "abcdefghijklmnopqrstuvwxyz"})
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def texts(labels: Sequence[int], seed: int, kind: str = "plain") -> list[str]:
    """Texts of given classes.

    Args:
        labels: indices in CLASSES.
        seed: of everything that is drawn.
        kind: one of KINDS.

    Returns:
        A text for each label.
    """
    rng = np.random.default_rng([seed, 79])
    return [_text(CLASSES[label], rng, kind) for label in labels]


def _text(name: str, rng: np.random.Generator, kind: str) -> str:
    own, common = _WORDS[name].split(), _COMMON.split()
    count = int(rng.integers(2, 4) if kind == "short" else rng.integers(5, 14))
    words = [str(rng.choice(own if rng.uniform() < 0.5 else common)) for _ in range(count)]
    words[0] = str(rng.choice(own))
    if kind == "plain_ascii":
        # Nothing that a normalization or lower-casing could change.
        return " ".join("".join(letter for letter in word.lower() if letter.isascii()) for word in words)
    words = [word.upper() if rng.uniform() < 0.1 else word for word in words]
    if rng.uniform() < 0.5 or kind == "strange":
        words.insert(1, str(rng.choice(_STRANGE)))
    if rng.uniform() < 0.4 or kind == "strange":
        words[-1] = words[-1].translate(_FULL_WIDTH)
    line = " ".join(words)
    line = line[0].upper() + line[1:] + str(rng.choice([".", "!", "?", ", today.", " ..."]))
    return line.upper() if kind == "shouting" else line


def pieces() -> list[str]:
    """The vocabulary of a wordpiece model, in order."""
    import unicodedata

    words = [word.lower() for text in (*_WORDS.values(), _COMMON) for word in text.split()]
    words += [unicodedata.normalize("NFD", word) for word in words]
    letters = [*"abcdefghijklmnopqrstuvwxyz", *"áüèûñéöï", *".,!?"]
    found = dict.fromkeys([*SPECIAL, *words, *letters, *_PIECES.split()])
    return list(found)[:400]


def whole_words() -> list[str]:
    """The vocabulary of a model of whole words, in order."""
    words = [word.lower() for text in (*_WORDS.values(), _COMMON) for word in text.split()]
    ends = [word + end for word in words for end in (".", "!", "?")]
    return list(dict.fromkeys(["<pad>", "<unk>", "<s>", *words, *ends]))[:400]
