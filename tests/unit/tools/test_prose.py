"""tools/prose finds the words that are not used, and only those, at the line where they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prosecheck import markdown, plain, python_source
from prosecheck.__main__ import RULE_FILE, check, files, main
from prosecheck.passages import Passage
from prosecheck.rules import Rules, load, words

ROOT = Path(__file__).parents[3]
LONG = " ".join(["word"] * 36) + "."


@pytest.fixture(scope="module")
def rules() -> Rules:
    return load(RULE_FILE)


def found(rules: Rules, text: str, read: Callable[[str], Iterator[Passage]] = markdown.passages) -> list[str]:
    return [one.rule for passage in read(text) for one in rules.find(passage, "docs/page.md")]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("This file is no model.", "idiom.no"),
        ("Both are no\nfaults.", "idiom.no"),
        ("A fault is told from a loss of precision.", "idiom.told"),
        ("It tells them apart.", "idiom.told"),
        ("The rule tells a wrong scale from a narrow one.", "idiom.told"),
        ("The figures are held against the peer.", "idiom.against"),
        ("It holds each model against the other.", "idiom.against"),
        ("It hangs on the samples.", "idiom.hangs"),
        ("The layer is mended.", "idiom.mend"),
        ("A recipe that mends.", "idiom.mend"),
        ("What differs is put right.", "idiom.put-right"),
        ("The layer departs here.", "idiom.departs"),
        ("A layer over the threshold.", "idiom.over-threshold"),
        ("Its own error is small.", "idiom.own-error"),
        ("Every layer is run by itself.", "idiom.own-error"),
        ("Our model and theirs.", "idiom.ours"),
        ("The last 500 cells heard of.", "idiom.heard"),
        ("On another kernel set.", "idiom.kernel-set"),
        ("The nrMSE of both.", "idiom.nrmse"),
        ("What was left out is said.", "idiom.said"),
        ("The range lies beside the values.", "idiom.beside"),
        ("It stands in the report.", "idiom.stands"),
        ("They lie in the cache.", "idiom.lies"),
        ("The run goes on.", "idiom.goes-on"),
        ("These are counted apart.", "idiom.apart"),
        ("Written in another way.", "idiom.another-way"),
        ("The output is nearer.", "idiom.nearer"),
        ("From the event, else from the plan.", "idiom.else"),
        ("A new one is made where there is none.", "idiom.where"),
        ("Two quantised models.", "spelling.ize"),
        ("Dequantisation of unnormalised values.", "spelling.ize"),
        ("It is analysed.", "spelling.yze"),
        ("A coloured neighbour.", "spelling.or"),
        ("BEHAVIOUR of the bus, centred.", "spelling.er"),
        ("A centred crop.", "spelling.er"),
        ("A handler is cancelled.", "spelling.l"),
        ("Unlabelled samples.", "spelling.l"),
        ("A grey artefact.", "spelling.words"),
        (LONG, "length"),
    ],
)
def test_it_finds(rules: Rules, text: str, rule: str) -> None:
    assert rule in found(rules, text)


@pytest.mark.parametrize(
    "text",
    [
        "There is no orchestrator, and there are no samples.",
        "It is no longer used; no run is no more than a test.",
        "The colors are optimized, analyzed, labeled and canceled.",
        "Otherwise it is precise, concise, an exercise; clockwise; noise; raised; comprises; elementwise; promised.",
        "It tells the user what to do. The message tells you the value.",
        "The emulator stands in for a phone.",
        "A relation holds. It holds a lock. It holds up.",
        "The repository depends on this department.",
        "An hour, four, tour, source and course of your court.",
        "Analysis of a metric, a parameter, a perimeter, a diameter: the center.",
        "The folder where the models are.",
        "The field `mended_for_a_try` and the state `cancelled`, and `is no model`.",
        "```\na mended colour\n```",
        "Run:\n\n    echo mended colour\n\nDone.",
        "- item\n\n      mended colour\n",
        "See [the page](https://example.com/colour/mended.html) or <https://example.com/grey>.",
        "The status CANCELLED of gRPC and the constant COLOUR.",
        "<!-- a mended colour -->",
        "| `mended` | [colour-free](colour.md) |\n|---|---|\n| `grey` | x |".replace("colour-free", "free"),
        "word " * 34 + "end.",
        "Short one. " + "word " * 30 + "end. " + "Word " * 30 + "end.",
        "- " + "word " * 30 + "\n- " + "word " * 30,
        "word " * 30 + "e.g. `code` " + "word " * 2 + "end.",
    ],
)
def test_it_finds_nothing(rules: Rules, text: str) -> None:
    assert found(rules, text) == []


def test_a_finding_is_at_the_line_of_its_words(rules: Rules) -> None:
    text = "# Title\n\nOne line of the\nparagraph, then `code\nspan` and a\nmended layer that is no\nmodel.\n"
    lines = [(one.line, one.found) for p in markdown.passages(text) for one in rules.find(p, "docs/page.md")]
    assert lines == [(6, "is no model"), (6, "mended")]


def test_text_after_code_and_inside_of_lists_and_tables_is_read(rules: Rules) -> None:
    assert found(rules, "```sh\ncode\n```\nA mended layer.") == ["idiom.mend"]
    assert found(rules, "- item\n\n  A mended layer.") == ["idiom.mend"]
    assert found(rules, "1. item goes\n   further, mended") == ["idiom.mend"]
    assert found(rules, "| a | b |\n|---|---|\n| x | a mended layer |") == ["idiom.mend"]
    assert found(rules, "## A mended layer") == ["idiom.mend"]
    assert found(rules, "    code\n\nA mended layer.") == ["idiom.mend"]


SOURCE = '''"""A module that mends."""

# A comment on a grey
# artefact that spans lines.
COLOUR = "colour"
KEYS = {"behaviour of": 1, "mended": 2}


def behaviour(neighbour: int) -> str:
    """Says what departs.

    Args:
        neighbour: the neighbour, quantised.

    Returns:
        A text.
    """
    colour = neighbour  # noqa: BLE001
    return f"the layer {colour} is no {neighbour + 1} but {colour!r} hangs on it" + "mended"
'''


def test_python_docstrings_comments_and_messages_are_read_and_identifiers_are_not(rules: Rules) -> None:
    lines = sorted((one.line, one.found) for p in python_source.passages(SOURCE) for one in rules.find(p, "x.py"))
    assert lines == [
        (1, "mends"),
        (3, "grey"),
        (4, "artefact"),
        (6, "behaviour"),
        (10, "departs"),
        (13, "neighbour"),
        (13, "quantised"),
        (19, "hangs on"),
    ]


def test_entries_of_a_docstring_and_calls_of_a_message_are_sentences_of_their_own(rules: Rules) -> None:
    entry = "word " * 25
    text = f'def f(a, b):\n    """One.\n\n    Args:\n        a: {entry}\n        b: {entry}\n    """\n'
    assert found(rules, text, python_source.passages) == []
    assert found(rules, f'"""{LONG}"""', python_source.passages) == ["length"]
    assert found(rules, f'fail("one {LONG}")', python_source.passages) == ["length"]


def test_patterns_and_markup_in_strings_are_no_messages(rules: Rules) -> None:
    text = 'A = r"the colour\\s+of grey"\nB = "<p class=grey colour>of the colour</p>"\n'
    assert found(rules, text, python_source.passages) == []


def test_pages_in_strings_are_read_as_markdown(rules: Rules) -> None:
    text = 'PAGE = """# Title\n\n| a | b |\n|---|---|\n| mended | `grey` |\n\n    grey code\n"""\n'
    lines = [(one.line, one.found) for p in python_source.passages(text) for one in rules.find(p, "x.py")]
    assert lines == [(5, "mended")]


def test_comments_of_configuration_and_contracts_are_read(rules: Rules) -> None:
    yaml = "# The behaviour\n# of a grey pod.\ncolour: grey  # an artefact\nurl: http://x/#grey\n#!mended colour here\n"
    lines = [(one.line, one.found) for p in plain.hash_comments(yaml) for one in rules.find(p, "a.yaml")]
    assert lines == [(1, "behaviour"), (2, "grey"), (3, "artefact")]
    assert found(rules, "// A mended layer.\nstring colour = 1;", plain.slash_comments) == ["idiom.mend"]


def test_text_of_templates_is_read(rules: Rules) -> None:
    page = "<style>p { color: grey }</style>\n{# a grey note #}\n<p class=grey>{{ colour }} is\n no model</p>\n"
    lines = [(one.line, one.found) for p in plain.templates(page) for one in rules.find(p, "a.html")]
    assert lines == [(3, "is no model")]


RULE_TEXT = """
most_words = 5
clean = ["a"]
skipped = ["a/skipped"]
[[rule]]
name = "x.bad"
pattern = 'bad'
say = "good"
[[allow]]
phrase = "not so bad"
paths = ["a"]
reason = "a quotation"
[[without]]
path = "b"
rule = "x"
"""


def test_phrases_are_allowed_with_a_reason_and_rules_do_not_hold_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(RULE_TEXT)
    rules = load(file)
    one = next(markdown.passages("It is not so bad, but bad."))
    assert [finding.found for finding in rules.find(one, "a/x.md")] == ["bad"]
    assert [finding.found for finding in rules.find(one, "c/x.md")] == [
        "bad",
        "bad",
        "7 words: It is not so bad, but ...",
    ]
    assert [finding.rule for finding in rules.find(one, "b/x.md")] == ["length"]
    file.write_text(RULE_TEXT.replace("a quotation", " "))
    with pytest.raises(ValueError, match="not so bad"):
        load(file)


def test_words_are_counted() -> None:
    assert words("One two-part word, 3 \u00a4 - and.") == 6


@pytest.mark.heavy
def test_the_clean_paths_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0, capsys.readouterr().out


def test_every_allowed_phrase_and_every_clean_path_still_exists(rules: Rules) -> None:
    assert [path for path in rules.clean if not (ROOT / path).exists()] == []
    texts = {path: " ".join((ROOT / path).read_text(encoding="utf-8").split()) for path in files([], rules)}
    for one in rules.allowed:
        assert any(one.phrase in text for text in texts.values()), f"no text has {one.phrase!r}: drop it"


def test_the_command_prints_file_line_rule_and_what_to_say(tmp_path: Path) -> None:
    page = ROOT / "docs" / f"{tmp_path.name}.md"
    page.write_text("# Page\n\nA mended layer.\n")
    try:
        run = subprocess.run([ROOT / "tools/prose", page], capture_output=True, text=True, check=False, env=_env())
        assert run.returncode == 1
        assert run.stdout == f"docs/{page.name}:3: idiom.mend: mended -> fix\n"
        count = subprocess.run([ROOT / "tools/prose", "--count", page], capture_output=True, text=True, env=_env())
        assert count.returncode == 0 and count.stdout.splitlines()[0].split() == ["1", "docs"]
    finally:
        page.unlink()
    absent = subprocess.run([ROOT / "tools/prose", tmp_path / "x.md"], capture_output=True, text=True, env=_env())
    assert absent.returncode == 2 and str(tmp_path / "x.md") in absent.stderr


def _env() -> dict[str, str]:
    return {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"}


def test_a_file_that_is_not_prose_is_not_read(rules: Rules) -> None:
    assert files([ROOT / "uv.lock", ROOT / "docs/report.png", ROOT / "shared/src/windtunnel/v1"], rules) == []
    assert check("LICENSE", rules) == []
