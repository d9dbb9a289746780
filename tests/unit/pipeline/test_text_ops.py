"""What the text ops compute, compared with the library tokenizers."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.pipeline import Pipeline

Array = npt.NDArray[Any]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "un", "##aff", "##able", "play", "##ing", ",", ".", "a", "##b", "é"]
TEXTS = [
    "the unaffable, playing.",
    "Hello there -- it's 3.14, isn't it?\n\tYes: naïve café CRÈME №5 ½",
    "日本語 テスト, привет мир! 🎉🎊 ﬁn",
    "",
    "  spaces   here  ",
    "don't STOP   believing 1234567890 $%^&* foo_bar",
    "5½ x² e\u0301\u0300 control\u0000\u200bchars",
]


def apply(texts: Any, *steps: dict[str, Any]) -> Array:
    return Pipeline.parse({"schema": "windtunnel.pipeline/1", "task": "text", "steps": list(steps)}).apply(texts)


def each(texts: list[str], step: dict[str, Any]) -> list[list[int]]:
    return [apply([text], step)[0].tolist() for text in texts]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return path


def wordpiece(vocabulary: Path, **fields: Any) -> dict[str, Any]:
    return {"op": "tokenize", "kind": "wordpiece", "vocabulary": str(vocabulary), **fields}


def test_lowercase_and_forms() -> None:
    texts = np.array(["ÀB\u0130", "ﬁ e\u0301"])
    assert apply(texts, {"op": "lowercase"}).tolist() == ["àbi\u0307", "ﬁ e\u0301"]
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        result = apply(texts, {"op": "normalize_unicode", "form": form}).tolist()
        assert result == [unicodedata.normalize(form, text) for text in texts]
    stripped = apply(["Crème e\u0301"], {"op": "normalize_unicode", "form": "NFC", "strip_accents": True})
    assert stripped.tolist() == ["Creme e"]


def test_wordpiece_takes_the_longest_pieces(vocabulary: Path) -> None:
    result = apply(["the unaffable, playing."], wordpiece(vocabulary, prefix="[CLS]", suffix="[SEP]"))
    assert result.dtype == np.int32
    assert result.tolist() == [[2, 4, 5, 6, 7, 10, 8, 9, 11, 3]]
    assert apply(["unaffablex"], wordpiece(vocabulary)).tolist() == [[1]]
    assert apply(["play,ing"], wordpiece(vocabulary, split_punctuation=False)).tolist() == [[1]]
    assert apply(["play,a"], wordpiece(vocabulary)).tolist() == [[8, 10, 12]]


def test_whitespace_takes_whole_words(vocabulary: Path) -> None:
    step = {"op": "tokenize", "kind": "whitespace", "vocabulary": str(vocabulary)}
    assert apply([" the\tplaying a "], step).tolist() == [[4, 1, 12]]
    assert apply(["x"], step | {"unknown": "[PAD]"}).tolist() == [[0]]


def test_pad_appends_and_cuts_at_the_end(vocabulary: Path) -> None:
    step = wordpiece(vocabulary, prefix=["[CLS]"], suffix=["[SEP]"])
    texts = ["a", "the play a ab the"]
    padded = apply(texts, step, {"op": "pad", "length": 5, "value": 9})
    assert padded.tolist() == [[2, 12, 3, 9, 9], [2, 4, 8, 12, 12]]
    with pytest.raises(InvalidInput, match=r"different shapes.*\"op\": \"pad\""):
        apply(texts, step)


def test_mask_marks_the_tokens_before_padding(vocabulary: Path) -> None:
    steps = (wordpiece(vocabulary), {"op": "mask"}, {"op": "pad", "length": 4})
    assert apply(["a", "the play a"], *steps).tolist() == [[1, 0, 0, 0], [1, 1, 1, 0]]
    assert apply(["a the"], wordpiece(vocabulary), {"op": "mask", "value": 0}).tolist() == [[0, 0]]


def test_a_changed_vocabulary_is_read_again(vocabulary: Path) -> None:
    assert apply(["a"], wordpiece(vocabulary)).tolist() == [[12]]
    vocabulary.write_text("a\n[UNK]\n", encoding="utf-8")
    assert apply(["a"], wordpiece(vocabulary)).tolist() == [[0]]


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes("\ufeff[UNK]\r\nthe\r\na".encode())
    assert apply(["a the x"], wordpiece(path)).tolist() == [[2, 1, 0]]


def test_what_does_not_fit_is_named(vocabulary: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("a\nb\n")
    (tmp_path / "latin").write_bytes(b"\xe9\n")
    wrong = [
        (["a"], wordpiece(tmp_path / "none.txt"), r"step 0 \(tokenize\).*none.txt.*relative to the pipeline.json"),
        (["a"], wordpiece(tmp_path), "not a file"),
        (["a"], wordpiece(tmp_path / "latin"), "UTF-8"),
        (["c"], wordpiece(plain), "no token for 'c'.*unknown"),
        (["a"], wordpiece(plain, unknown="[UNK]"), r"field 'unknown'.*no token '\[UNK\]'"),
        (["a"], wordpiece(plain, prefix="[CLS]"), r"field 'prefix'.*no token '\[CLS\]'"),
        (np.zeros((1, 4), np.int64), wordpiece(plain), r"raw texts are \(N,\), not int64"),
        ([b"\xff"], wordpiece(plain), "not UTF-8"),
        (["a"], {"op": "tokenize", "kind": "bpe", "vocabulary": str(plain)}, "not a tokenizer.json"),
    ]
    for texts, step, words in wrong:
        with pytest.raises(InvalidInput, match=words):
            apply(texts, step)


class TestAgainstTheLibraryTokenizers:
    def test_wordpiece(self, tmp_path: Path) -> None:
        theirs = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=200))
        theirs.normalizer = normalizers.BertNormalizer(strip_accents=True, lowercase=True)
        theirs.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=120, special_tokens=["[PAD]", "[UNK]"], show_progress=False, continuing_subword_prefix="##"
        )
        theirs.train_from_iterator(TEXTS * 3, trainer)
        tokens = sorted(theirs.get_vocab().items(), key=lambda one: one[1])
        path = tmp_path / "vocab.txt"
        path.write_text("".join(f"{token}\n" for token, _ in tokens), encoding="utf-8")
        before = ({"op": "lowercase"}, {"op": "normalize_unicode", "form": "NFD", "strip_accents": True})
        unseen = [*TEXTS, "zebra theyes x" * 3, "a" * 201, "unknown 𠀀 words☂"]
        for text in unseen:
            assert apply([text], *before, wordpiece(path))[0].tolist() == theirs.encode(text).ids, text

    @pytest.mark.parametrize(
        "pre_tokenizer",
        [
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            pre_tokenizers.ByteLevel(add_prefix_space=True),
            pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Digits(individual_digits=True),
                    pre_tokenizers.ByteLevel(add_prefix_space=False),
                ]
            ),
        ],
        ids=["byte-level", "with a prefix space", "digits alone"],
    )
    def test_bpe_of_bytes(self, pre_tokenizer: Any, tmp_path: Path) -> None:
        theirs = Tokenizer(models.BPE())
        theirs.pre_tokenizer = pre_tokenizer
        theirs.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        theirs.train_from_iterator(TEXTS, trainer)
        theirs.add_special_tokens(["<|end|>", AddedToken("<|endless|>", special=True)])
        self._compare(theirs, tmp_path, [*TEXTS, "one<|end|> two <|endless|><|end|>three", "ŝtranga ĝi \U0001d518"])

    @pytest.mark.parametrize(
        ("normalizer", "pre_tokenizer"),
        [
            (normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]), pre_tokenizers.Whitespace()),
            (
                normalizers.Sequence([normalizers.Strip(), normalizers.NFD(), normalizers.StripAccents()]),
                pre_tokenizers.WhitespaceSplit(),
            ),
            (normalizers.Replace("'", "`"), pre_tokenizers.Metaspace()),
            (None, pre_tokenizers.Metaspace(prepend_scheme="first")),
            (None, pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])),
        ],
        ids=["whitespace", "split at white space", "metaspace", "metaspace first", "punctuation"],
    )
    def test_bpe_of_characters(self, normalizer: Any, pre_tokenizer: Any, tmp_path: Path) -> None:
        theirs = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, end_of_word_suffix="</w>"))
        if normalizer is not None:
            theirs.normalizer = normalizer
        theirs.pre_tokenizer = pre_tokenizer
        trainer = trainers.BpeTrainer(
            vocab_size=150, special_tokens=["<unk>"], show_progress=False, end_of_word_suffix="</w>"
        )
        theirs.train_from_iterator(TEXTS, trainer)
        self._compare(theirs, tmp_path, [*TEXTS, "zzz ЖЖЖ a" * 2])

    def test_bpe_by_a_pattern_with_properties(self, tmp_path: Path) -> None:
        pattern = (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
        theirs = Tokenizer(models.BPE(ignore_merges=True))
        from tokenizers import Regex

        theirs.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        theirs.train_from_iterator(TEXTS, trainer)
        self._compare(theirs, tmp_path, TEXTS)

    def test_bpe_falls_back_to_bytes(self, tmp_path: Path) -> None:
        alphabet = {f"<0x{byte:02X}>": byte + 1 for byte in range(256)}
        vocabulary = {"<unk>": 0, **alphabet, "▁": 257, "a": 258, "b": 259, "▁a": 260, "▁ab": 261}
        merges = [("▁", "a"), ("▁a", "b")]
        theirs = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        theirs.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        self._compare(theirs, tmp_path, ["ab ba", "é ab", "", "日a"])

    @staticmethod
    def _compare(theirs: Tokenizer, folder: Path, texts: list[str]) -> None:
        path = folder / "tokenizer.json"
        theirs.save(str(path))
        step = {"op": "tokenize", "kind": "bpe", "vocabulary": str(path)}
        for text in texts:
            assert each([text], step)[0] == theirs.encode(text, add_special_tokens=False).ids, text

    def test_a_part_that_is_not_known_is_refused(self, tmp_path: Path) -> None:
        theirs = Tokenizer(models.Unigram())
        path = tmp_path / "tokenizer.json"
        theirs.save(str(path))
        step = {"op": "tokenize", "kind": "bpe", "vocabulary": str(path)}
        with pytest.raises(Unsupported, match="Unigram"):
            apply(["a"], step)
        other = json.loads(path.read_text())
        other["model"] = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
        other["pre_tokenizer"] = {"type": "UnicodeScripts"}
        path.write_text(json.dumps(other))
        with pytest.raises(Unsupported, match="UnicodeScripts"):
            apply(["a"], step)
