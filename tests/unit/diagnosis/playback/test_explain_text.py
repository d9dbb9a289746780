"""What an app does to text is found by reproducing its ids: alone, in pairs, and not if nothing is wrong."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from support.app_faults.texts.app import TEXT_MODELS, TextModel, prepared, right_app
from support.app_faults.texts.cases import FAULTS
from support.app_faults.texts.texts import texts
from windtunnel.diagnosis.playback.synthesis.explanation import Explanation
from windtunnel.diagnosis.playback.text.explain_text import explain_text_inputs
from windtunnel.pipeline import Pipeline

STEPS = {
    "no_lowercase": {"lowercase"},
    "no_unicode": {"normalize_unicode"},
    "unicode_nfd": {"normalize_unicode"},
    "ids_shifted": {"vocabulary"},
    "other_vocabulary": {"vocabulary"},
    "unknown_other": {"token"},
    "no_prefix": {"prefix"},
    "no_suffix": {"suffix"},
    "pad_value": {"pad value"},
    "pad_left": {"pad side"},
    "cut_short": {"pad"},
    "whitespace": {"kind"},
}
PAIRS = [one for one in itertools.combinations(STEPS, 2) if one != ("no_unicode", "unicode_nfd")]


def reference_of(model: TextModel, folder: Path) -> Pipeline:
    """The pipeline of a model, with its vocabulary in a folder."""
    vocabulary = folder / "vocabulary.txt"
    vocabulary.write_text("".join(f"{token}\n" for token in model.vocabulary()))
    document = model.pipeline()
    document["steps"][2]["vocabulary"] = str(vocabulary)
    return Pipeline.parse(document)


def explained(model: TextModel, faults: tuple[str, ...], folder: Path, seed: int = 4) -> tuple[Explanation, bool]:
    """The explanation, and whether the app fed the right ids."""
    pipeline = reference_of(model, folder)
    raw = texts([0, 1, 2, 3] * 4, seed)
    app = right_app(model)
    for fault in faults:
        app = FAULTS[fault](app)
    fed = np.stack(prepared(app, model, raw)).astype(np.float64)
    reference = pipeline.apply(raw).astype(np.float64)
    return explain_text_inputs(pipeline.steps, np.asarray(raw), fed, reference), bool((fed == reference).all())


@pytest.mark.parametrize("model", TEXT_MODELS.values(), ids=TEXT_MODELS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_right_app_is_right(model: TextModel, seed: int, tmp_path: Path) -> None:
    found, same = explained(model, (), tmp_path, seed)
    assert same and not found.findings and found.after == 0


@pytest.mark.parametrize("fault", STEPS)
def test_a_fault_alone_is_named_with_its_step(fault: str, tmp_path: Path) -> None:
    found, same = explained(TEXT_MODELS["text_pieces"], (fault,), tmp_path)
    assert not same and found.after == 0
    assert {one.evidence()["step"] for one in found.findings} == STEPS[fault]
    (finding,) = found.findings
    assert str(finding.code) == "preprocessing.text"
    assert finding.proof.without > 0 and finding.fix().to_json()["action"].startswith("do as the pipeline says")


@pytest.mark.parametrize("model", TEXT_MODELS.values(), ids=TEXT_MODELS)
@pytest.mark.heavy
def test_two_faults_are_reproduced(model: TextModel, tmp_path: Path) -> None:
    for faults in PAIRS:
        if model.kind != "wordpiece" and {"no_suffix", "whitespace"} & set(faults):
            continue
        found, same = explained(model, faults, tmp_path)
        assert same == (not found.findings), faults
        assert found.after == 0 and len(found.findings) <= 2, faults


def test_ids_that_nothing_explains_are_not_explained(tmp_path: Path) -> None:
    model = TEXT_MODELS["text_words"]
    pipeline = reference_of(model, tmp_path)
    raw = texts([0, 1, 2, 3] * 4, 9)
    reference = pipeline.apply(raw).astype(np.float64)
    fed = np.random.default_rng(0).integers(0, 100, reference.shape).astype(np.float64)
    assert explain_text_inputs(pipeline.steps, np.asarray(raw), fed, reference).after > 0.5
