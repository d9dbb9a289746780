"""Samples of an app next to each other: raw, what the app fed, what the reference feeds, and the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from windtunnel.cli.report.app_page.pictures import image_pixels, map_pixels, picture, spectrogram
from windtunnel.cli.report.formatting import clean, figure, nrmse_text, shorten
from windtunnel.cli.report.html.rendering import render

_TEXT: Final = 400
_TOKENS: Final = 64
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """One input of one frame of an app.

    Attributes:
        title: for example "frame 3".
        raw: image uint8 (H, W, 3), waveform (samples,), or text; None: not recorded.
        fed: what the app fed, real numbers; None: not recorded.
        expected: what the reference feeds, in the same shape if it has as many values; None: not known.
        nrmse: how far both are apart; None: not comparable.
    """

    title: str
    raw: NDArray[Any] | str | None
    fed: Values | None
    expected: Values | None
    nrmse: float | None = None


@dataclass(frozen=True, slots=True)
class _Column:
    """What one column of a row shows, and a line below it."""

    shown: Markup
    words: str


@dataclass(frozen=True, slots=True)
class _Row:
    title: str
    nrmse: str
    columns: Sequence[_Column]


def samples_section(samples: Sequence[Sample], *, vocabulary: Sequence[str] = ()) -> Markup:
    """A table with a row for each sample, and the columns raw, fed, expected, difference.

    Images become pictures with one brightness scale, that of the reference, so that a wrong range is seen. Audio
    becomes spectrograms, token ids become lists in which different ones are marked.

    Args:
        samples: of an app.
        vocabulary: tokens by id, for text; empty: ids are shown.

    Returns:
        The markup; empty if there are no samples.
    """
    if not samples:
        return Markup()
    return render("app_samples.html.j2", rows=[_row(sample, vocabulary) for sample in samples])


def _row(sample: Sample, vocabulary: Sequence[str]) -> _Row:
    columns = (
        _raw(sample.raw),
        _values(sample, sample.fed, ("what the app fed", "not recorded"), vocabulary),
        _values(sample, sample.expected, ("what the reference feeds", "not known"), vocabulary),
        _difference(sample),
    )
    return _Row(clean(sample.title), nrmse_text(sample.nrmse), columns)


def _raw(raw: NDArray[Any] | str | None) -> _Column:
    if raw is None:
        return _Column(Markup(), "not recorded")
    if isinstance(raw, str):
        return _Column(Markup("<p>{}</p>").format(shorten(clean(raw), _TEXT)), f"{len(raw)} characters")
    if raw.ndim == 3:
        return _Column(picture(image_pixels(raw, 0, 255), "raw image"), f"{raw.shape[1]} x {raw.shape[0]}")
    shown = picture(map_pixels(spectrogram(raw), -80, 0), "spectrogram of the raw audio")
    return _Column(shown, f"{raw.size} samples, {figure(float(np.min(raw)))} to {figure(float(np.max(raw)))}")


def _values(sample: Sample, values: Values | None, words: tuple[str, str], vocabulary: Sequence[str]) -> _Column:
    """The values; `words` say what they are, and why there are none."""
    if values is None:
        return _Column(Markup(), words[1])
    if _is_text(sample):
        return _Column(_tokens(values, sample, vocabulary), _range_words(values))
    low, high = _scale(sample)
    return _Column(picture(_pixels(_bare(values), low, high), words[0]), _range_words(values))


def _difference(sample: Sample) -> _Column:
    if sample.fed is None or sample.expected is None:
        return _Column(Markup(), "")
    if sample.fed.shape != sample.expected.shape:
        shapes = (" x ".join(map(str, one.shape)) for one in (sample.fed, sample.expected))
        return _Column(Markup(), f"the shapes differ: {', '.join(shapes)}")
    apart = np.abs(sample.fed - sample.expected)
    largest = float(np.nanmax(apart, initial=0.0))
    words = f"up to {figure(largest)}, {figure(float(np.nanmean(apart)) if apart.size else 0.0)} in the mean"
    if _is_text(sample):
        count = int(np.count_nonzero(apart))
        return _Column(Markup(), f"{count} of {apart.size} ids differ" if count else "the same")
    if not largest:
        return _Column(Markup(), "the same")
    return _Column(picture(_pixels(_bare(apart), 0.0, largest), "the difference"), words)


def _is_text(sample: Sample) -> bool:
    return isinstance(sample.raw, str)


def _bare(values: Values) -> Values:
    """Without leading dimensions of 1: the batch."""
    while values.ndim > 1 and values.shape[0] == 1:
        values = values[0]
    return values


def _scale(sample: Sample) -> tuple[float, float]:
    """What is black and white in both pictures: the range of the reference, or that of the app without one."""
    known = sample.expected if sample.expected is not None else sample.fed
    assert known is not None
    finite = known[np.isfinite(known)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _pixels(values: Values, low: float, high: float) -> NDArray[np.uint8]:
    """Images in their colors; waveforms as spectrograms; other arrays as tables of colors."""
    if values.ndim == 3 and (values.shape[-1] in (1, 3, 4) or values.shape[0] in (1, 3, 4)):
        sides = sorted(values.shape)
        if sides[1] > 4:
            return image_pixels(values, low, high)
    if values.ndim == 1 and values.size >= 1024:
        return map_pixels(spectrogram(values), -80, 0)
    # The longer side is time, from left to right.
    table = values.reshape(1, -1) if values.ndim < 2 else values.reshape(values.shape[0], -1)
    return map_pixels(table if table.shape[1] > table.shape[0] else table.T, low, high)


def _tokens(values: Values, sample: Sample, vocabulary: Sequence[str]) -> Markup:
    ids = _bare(values).ravel()
    other = sample.expected if values is sample.fed else sample.fed
    same = other is not None and other.size == values.size
    others = other.ravel() if same and other is not None else ids
    parts = [
        Markup("<b>{}</b>" if same and ids[at] != others[at] else "{}").format(_token(ids[at], vocabulary))
        for at in range(min(len(ids), _TOKENS))
    ]
    more = f" and {len(ids) - _TOKENS} more" if len(ids) > _TOKENS else ""
    return Markup('<p class="mono">{}{}</p>').format(Markup(" ").join(parts), more)


def _token(value: float, vocabulary: Sequence[str]) -> str:
    index = int(value) if np.isfinite(value) and value == int(value) else -1
    return clean(vocabulary[index]) if 0 <= index < len(vocabulary) else figure(float(value), "g")


def _range_words(values: Values) -> str:
    finite = values[np.isfinite(values)]
    shape = " x ".join(map(str, values.shape)) or "1"
    if not finite.size:
        return f"{shape}, no finite value"
    words = f"{shape}, {figure(float(finite.min()))} to {figure(float(finite.max()))}"
    broken = values.size - finite.size
    return f"{words}, {broken} NaN or infinite" if broken else words
