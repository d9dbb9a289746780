"""Explains what an app fed to a text model: by which changes of the pipeline its ids are reproduced exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.kinds.preprocessing import Proof, TextFinding
from windtunnel.diagnosis.playback.synthesis.chain_search import ChainSearch, Difference, Ending
from windtunnel.diagnosis.playback.synthesis.explanation import Explanation
from windtunnel.diagnosis.playback.text.text_slots import Hints, TextState, text_slots
from windtunnel.diagnosis.recording.edge_recording import Rows
from windtunnel.diagnosis.thresholds.apps.playback_thresholds import RENUMBERED_IDS, RENUMBERED_SHARE, TEXTS_EXPLAINED
from windtunnel.pipeline import Step, begin, finished
from windtunnel.tflite.tensor_error import nrmse_of

Ids = NDArray[np.int64]
_VOCABULARY: Final = "ids of the pipeline's vocabulary"


def explain_text_inputs(
    steps: Sequence[Step], raw: Rows, fed: NDArray[np.float64], reference: NDArray[np.float64]
) -> Explanation:
    """Explains how what an app fed differs from what its pipeline feeds.

    Args:
        steps: of the pipeline, for one input.
        raw: texts, one for each frame.
        fed: ids that the app fed, (N, ...) in the shape of the reference.
        reference: what the pipeline feeds.

    Returns:
        The explanation. Its figure `after` is the share of ids that differ: ids are not numbers.
    """
    before = nrmse_of(reference, fed)
    if np.array_equal(fed, reference):
        return Explanation((), before, 0.0, len(fed))
    picked = _most_different(fed, reference)
    few = np.rint(fed[picked]).astype(np.int64)
    texts = [raw[index] for index in picked]
    judge = TextJudge(few)
    floor = 0.5 / few.size
    start = TextState(begin([str(one) for one in texts], steps, kind="text"))
    search: ChainSearch[TextState] = ChainSearch(text_slots(steps, _hints(few)), start, judge, floor)
    found = search.run()
    findings = []
    for one in sorted(found.differences, key=lambda one: one.name):
        without = search.without(one, found)
        proof = Proof(before or 0.0, without if np.isfinite(without) else 1.0, found.misfit, len(picked))
        how = f"do as the pipeline says: {one.pipeline}"
        findings.append(TextFinding(app=one.app, pipeline=one.pipeline, how=how, proof=proof, step=one.name))
    return Explanation(tuple(findings), before, found.misfit, len(picked))


def _most_different(fed: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.intp]:
    """The frames that differ most, and others that show what is right, in their order."""
    differing = (fed != reference).reshape(len(fed), -1).mean(axis=1)
    return np.sort(np.argsort(-differing, kind="stable")[:TEXTS_EXPLAINED])


def _hints(fed: Ids) -> Hints:
    """Values that the app may fill with, and the length at which it may cut."""
    ends = [Counter(fed[:, place].tolist()).most_common(1)[0][0] for place in (0, -1)]
    lengths = [int((row != end).nonzero()[0].max(initial=-1)) + 1 for row in fed for end in ends[1:]]
    fronts = [len(row) - int((row != ends[0]).nonzero()[0].min(initial=len(row))) for row in fed]
    return Hints(tuple(dict.fromkeys(ends)), tuple(dict.fromkeys((max(lengths), max(fronts)))))


class TextJudge:
    """Judges the ids that a chain gives.

    Args:
        fed: ids that the app fed.
    """

    def __init__(self, fed: Ids) -> None:
        self._fed = fed

    def __call__(self, state: TextState) -> Iterator[Ending]:
        """All endings of a chain: the ids as they are, moved by a number, or numbered differently.

        Args:
            state: what the chain gives.

        Yields:
            The endings.

        Raises:
            ValueError: the chain gives another shape.
        """
        given = np.rint(np.asarray(finished(state.values), np.float64)).astype(np.int64)
        if given.shape != self._fed.shape:
            raise ValueError("other shape")
        yield Ending(self._share(given))
        yield from self._one_other(given)
        yield from self._moved(given)
        mapping = _renumbered(given, self._fed)
        if mapping is not None:
            numbered = np.array([mapping.get(one, one) for one in given.ravel().tolist()]).reshape(given.shape)
            yield Ending(self._share(numbered), (_vocabulary(_mapping_words(mapping)),))

    def _one_other(self, given: Ids) -> Iterator[Ending]:
        """One token, such as that of unknown words, is another one."""
        differing = given != self._fed
        if differing.any():
            token = Counter(given[differing].tolist()).most_common(1)[0][0]
            other = Counter(self._fed[given == token].tolist()).most_common(1)[0][0]
            words = f"the token {token} is fed as {other}"
            one = Difference("token", CauseCode.PREPROCESSING_TEXT, words, f"the token is {token}", is_general=True)
            yield Ending(self._share(np.where(given == token, other, given)), (one,))

    def _moved(self, given: Ids) -> Iterator[Ending]:
        """Ids moved by a constant: all, or those that are not the same on both sides."""
        differing = given != self._fed
        if not differing.any():
            return
        shift = Counter((self._fed - given)[differing].tolist()).most_common(1)[0][0]
        words = f"ids are moved by {shift:+d}"
        yield Ending(self._share(given + shift), (_vocabulary(words),))
        if np.unique(given[differing]).size < 3:
            return
        total = Counter((self._fed + given)[differing].tolist()).most_common(1)[0][0]
        turned = np.where(differing, total - given, given)
        yield Ending(self._share(turned), (_vocabulary(f"ids are counted from the end: {total} minus the id"),))
        kept = {one for one in np.unique(given).tolist() if not differing[given == one].any()}
        if kept:
            moved = np.where(np.isin(given, list(kept)), given, given + shift)
            yield Ending(self._share(moved), (_vocabulary(f"{words}, except {_listed(kept)}"),))

    def _share(self, given: Ids) -> float:
        return float((given != self._fed).mean())


def _vocabulary(words: str) -> Difference:
    return Difference("vocabulary", CauseCode.PREPROCESSING_TEXT, words, _VOCABULARY, is_general=True)


def _listed(ids: Sequence[int] | set[int]) -> str:
    known = sorted(ids)
    return ", ".join(map(str, known[:5])) + (", ..." if len(known) > 5 else "")


def _mapping_words(mapping: Mapping[int, int]) -> str:
    shown = ", ".join(f"{left} is {right}" for left, right in sorted(mapping.items())[:5])
    return f"ids are numbered differently: {shown}" + (", ..." if len(mapping) > 5 else "")


def _renumbered(given: Ids, fed: Ids) -> dict[int, int] | None:
    """A numbering of the ids that gives what was fed, where they differ; None: there is none.

    It must be one to one, and hold where ids appear again.
    """
    pairs = Counter(zip(given.ravel().tolist(), fed.ravel().tolist(), strict=True))
    best: dict[int, tuple[int, int]] = {}
    totals: Counter[Any] = Counter()
    for (left, right), count in pairs.items():
        totals[left] += count
        if count > best.get(left, (0, 0))[1]:
            best[left] = (right, count)
    changed = {left: right for left, (right, _) in best.items() if left != right}
    if not changed or len(set(changed.values())) < len(changed):
        return None
    again = [left for left in changed if totals[left] > 1]
    repeated = sum(totals[left] for left in again)
    held = sum(best[left][1] for left in again)
    if repeated < RENUMBERED_IDS or held < RENUMBERED_SHARE * repeated:
        return None
    return changed
