"""Other ways to make spectra of a waveform: frames, windows, powers, mel bands, logarithms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.playback.audio.wave_ways import KEEP, AudioSlot, AudioWay, function_way, mapped, step_way
from windtunnel.pipeline import Step, Values, advance

Array = NDArray[Any]
_CODE: Final = CauseCode.PREPROCESSING_SPECTROGRAM
_FLOORS: Final = (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
_LOWS: Final = (0, 20, 50, 60, 64, 80, 100, 125, 150, 200, 250, 300)
_HIGHS: Final = (3400, 3600, 3700, 3800, 4000, 5000, 6000, 7000, 7500, 7600, 7800, 8000)
_SECONDS: Final = (0.01, 0.016, 0.02, 0.025, 0.03, 0.032, 0.04, 0.05, 0.064)


def frame_slot(step: Step, rate: float | None) -> AudioSlot:
    """Ways to cut frames.

    Args:
        step: `frame` of the pipeline.
        rate: of the waveform, Hz.

    Returns:
        The slot.
    """
    length, hop = step.fields["length"], step.fields["step"]
    own = step_way("own", f"frames of {length} samples every {hop}", step)
    return AudioSlot("frame", _CODE, own, tuple(_framings(length, hop, rate)))


def _framings(length: int, hop: int, rate: float | None) -> Iterator[AudioWay]:
    times = [round(one * rate) for one in _SECONDS] if rate else []
    power = 1 << (length - 1).bit_length()
    for other in dict.fromkeys([length // 2, length * 2, power, power // 2, 256, 400, 512, 1024, *times]):
        if other not in (length, 0) and other > 8:
            yield step_way(f"length {other}", f"frames of {other} samples every {hop}", _frame(other, hop))
    nearby = [hop // 2, hop * 2, length, length // 2, length // 4, hop - 1, hop + 1, 128, 160, 256, 320, 512, *times]
    for other in dict.fromkeys(nearby):
        if other not in (hop, 0) and 8 < other <= 4 * length:
            yield step_way(f"step {other}", f"frames of {length} samples every {other}", _frame(length, other))
    for mode, words in (("reflect", "mirrored"), ("constant", "filled with zeros")):
        yield AudioWay(f"centered {mode}", f"frames are centered: the waveform is {words} by {length // 2} samples at "
                       "both ends", _padded(length // 2, length // 2, mode, _frame(length, hop)))  # fmt: skip
    for late in dict.fromkeys([hop, hop // 2, length // 2, length - hop, length]):
        if late > 0:
            yield AudioWay(f"late {late}", f"the first frame begins {late} samples late",
                           _from(late, _frame(length, hop)))  # fmt: skip
            yield AudioWay(f"early {late}", f"{late} zeros lie before the first frame",
                           _padded(late, 0, "constant", _frame(length, hop)))  # fmt: skip


def _frame(length: int, hop: int) -> Step:
    return Step("frame", {"length": length, "step": hop})


def _padded(before: int, after: int, mode: Any, step: Step) -> Callable[[Values], Values]:
    def run(values: Values) -> Values:
        return advance(mapped(values, lambda wave: np.pad(wave, ((0, 0), (before, after)), mode=mode)), [step])

    return run


def _from(late: int, step: Step) -> Callable[[Values], Values]:
    return lambda values: advance(mapped(values, lambda wave: wave[:, late:]), [step])


def window_slot(step: Step | None) -> AudioSlot:
    """Ways to weight frames.

    Args:
        step: `window` of the pipeline; None: it has none.

    Returns:
        The slot.
    """
    if step is None:
        kind, periodic = "none", True
        own = AudioWay("own", "no window", KEEP.run)
    else:
        kind, periodic = step.fields["kind"], step.fields["periodic"]
        own = step_way("own", _window_words(kind, periodic), step)
    others = []
    for other in ("hann", "hamming", "none"):
        for period in (True, False) if other != "none" else (True,):
            if (other, period if other != "none" else True) != (kind, periodic if kind != "none" else True):
                fields = {"kind": other, "periodic": period}
                others.append(step_way(f"{other} {period}", _window_words(other, period), Step("window", fields)))
    for name, weights in (("blackman", np.blackman), ("bartlett", np.bartlett)):
        others.append(function_way(name, f"a {name} window", _weighted(weights)))
    return AudioSlot("window", _CODE, own, tuple(others))


def _weighted(weights: Callable[[int], Array]) -> Callable[[Array], Array]:
    return lambda frames: frames * weights(frames.shape[-1])


def _window_words(kind: str, periodic: bool) -> str:
    return "no window" if kind == "none" else f"a {'periodic' if periodic else 'symmetric'} {kind} window"


def spectrum_slot(step: Step) -> AudioSlot:
    """Ways from frames to spectra.

    Args:
        step: `spectrogram` of the pipeline.

    Returns:
        The slot.
    """
    power, size = step.fields["power"], step.fields["fft_length"]
    own = step_way("own", f"a spectrum of power {power:g}", step)
    others = [
        step_way(f"power {other:g}", f"a spectrum of power {other:g}", step.with_fields(power=other))
        for other in (1.0, 2.0, 0.5, 4.0)
        if other != power
    ]
    for other in (None, 256, 512, 1024, 2048):
        if other != size:
            words = "the length of the frames" if other is None else str(other)
            others.append(step_way(f"fft {other}", f"an FFT of length {words}", step.with_fields(fft_length=other)))
    others.append(AudioWay("no first", "the spectrum lacks its first frequency",
                           lambda one: mapped(advance(one, [step]), lambda found: found[..., 1:])))  # fmt: skip
    others.append(AudioWay("real", "the real part of the spectrum", lambda one: mapped(one, _real(power, size))))
    return AudioSlot("spectrogram", _CODE, own, tuple(others))


def _real(power: float, size: int | None) -> Callable[[Array], Array]:
    return lambda frames: np.abs(np.fft.rfft(frames.astype(np.float64), size).real) ** power


def mel_slot(step: Step | None, rate: float | None) -> AudioSlot | None:
    """Ways to sum a spectrum in bands.

    Args:
        step: `mel` of the pipeline; None: it has none.
        rate: of the waveform at this step, Hz.

    Returns:
        The slot; None: the pipeline has no bands, and an app that has some feeds another shape.
    """
    if step is None or not rate:
        return None
    own = step_way("own", _mel_words(step.fields, "HTK"), step)
    return AudioSlot("mel", _CODE, own, tuple(_mels(step, rate)))


def _mel_words(fields: Any, scale: str) -> str:
    return f"{fields['bins']} {scale} mel bands from {fields['low']:g} to {fields['high']:g} Hz"


def _mels(step: Step, rate: float) -> Iterator[AudioWay]:
    bins, low, high = (step.fields[name] for name in ("bins", "low", "high"))
    yield AudioWay("missing", "no mel bands", KEEP.run)
    for scale, straight, area in product(("htk", "slaney"), ("mel", "hertz"), (False, True)):
        if (scale, straight, area) != ("htk", "mel", False):
            words = f"{'HTK' if scale == 'htk' else 'Slaney'} mel bands, linear in {straight}"
            words += ", of equal area" if area else ""
            bank = _bank(bins, rate, low, high, scale, straight, area)
            yield function_way(f"{scale} {straight} {area}", words, bank)
    highs = [one for one in (*_HIGHS, rate / 2, rate / 4) if one <= rate / 2]
    for other_low, other_high in dict.fromkeys(product((low, *_LOWS), (high, *highs))):
        if (other_low, other_high) != (low, high) and other_low < other_high:
            fields = {"bins": bins, "low": other_low, "high": other_high}
            yield step_way(f"{other_low:g} {other_high:g}", _mel_words(fields, "HTK"), Step("mel", fields))
    for other in dict.fromkeys((bins // 2, bins * 2, 20, 23, 26, 32, 40, 64, 80, 96, 128)):
        if other not in (bins, 0):
            fields = {"bins": other, "low": low, "high": high}
            yield step_way(f"bins {other}", _mel_words(fields, "HTK"), Step("mel", fields))
    for other in (8_000.0, 16_000.0, 22_050.0, 44_100.0, 48_000.0):
        if other != rate and other / 2 >= high:
            words = f"mel bands for {other:g} Hz, at {rate:g} Hz"
            yield function_way(f"rate {other:g}", words, _bank(bins, other, low, high, "htk", "mel", False))


def _bank(bins: int, rate: float, low: float, high: float, scale: str, straight: str, area: bool) -> Any:
    def run(spectra: Array) -> Array:
        weights = mel_bank(bins, spectra.shape[-1], float(rate), float(low), float(high), scale, straight, area)
        return np.asarray(spectra.astype(np.float64) @ weights)

    return run


@lru_cache(maxsize=32)
def mel_bank(
    bins: int, frequencies: int, rate: float, low: float, high: float, scale: str, straight: str, area: bool
) -> NDArray[np.float64]:
    """The weights of mel bands as libraries make them.

    Args:
        bins: bands.
        frequencies: of the spectrum.
        rate: of the waveform, Hz.
        low: lower edge, Hz.
        high: upper edge, Hz.
        scale: htk or slaney.
        straight: what the triangles are linear in: mel or hertz.
        area: whether all bands have the same area.

    Returns:
        (frequencies, bins).
    """
    hertz = np.linspace(0.0, rate / 2, frequencies)
    to_mel, to_hertz = _SCALES[scale]
    edges = np.linspace(to_mel(np.float64(low)), to_mel(np.float64(high)), bins + 2)
    at, corners = (to_mel(hertz), edges) if straight == "mel" else (hertz, to_hertz(edges))
    lower, center, upper = corners[:-2], corners[1:-1], corners[2:]
    rising = (at[:, None] - lower) / (center - lower)
    falling = (upper - at[:, None]) / (upper - center)
    weights = np.maximum(0.0, np.minimum(rising, falling))
    if area:
        ends = to_hertz(edges)
        weights = weights * (2.0 / (ends[2:] - ends[:-2]))
    return np.asarray(weights)


def _slaney_mel(hertz: Any) -> Any:
    hertz = np.asarray(hertz, np.float64)
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))


def _slaney_hertz(mel: Any) -> Any:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))


_SCALES: Final[Any] = {
    "htk": (lambda hertz: 1127 * np.log1p(np.asarray(hertz) / 700), lambda mel: 700 * np.expm1(np.asarray(mel) / 1127)),
    "slaney": (_slaney_mel, _slaney_hertz),
}


def log_slot(step: Step | None, floors: Sequence[float]) -> AudioSlot:
    """Ways to take the logarithm.

    Args:
        step: `log` of the pipeline; None: it has none.
        floors: that what the app fed suggests.

    Returns:
        The slot.
    """
    if step is None:
        own = AudioWay("own", "no logarithm", KEEP.run)
        kind, floor = "ln", None
    else:
        kind, floor = step.fields["kind"], step.fields["floor"]
        own = step_way("own", f"the logarithm ({kind}) of values of at least {floor:g}", step)
    return AudioSlot("log", _CODE, own, tuple(_logs(kind, floor, floors)))


def _logs(kind: str, own: float | None, floors: Sequence[float]) -> Iterator[AudioWay]:
    if own is not None:
        yield AudioWay("missing", "no logarithm", KEEP.run)
    for floor in dict.fromkeys([*floors, *_FLOORS]):
        if floor != own:
            fields = {"kind": kind, "floor": floor}
            words = f"the logarithm ({kind}) of values of at least {floor:g}"
            yield step_way(f"floor {floor:g}", words, Step("log", fields))
    for added in dict.fromkeys([*([own] if own else []), *floors, *_FLOORS]):
        yield AudioWay(f"added {added:g}", f"the logarithm ({kind}) of values plus {added:g}", _added(kind, added))
    for exponent in (0.5, 1 / 3, 0.25):
        words = f"values to the power of {exponent:.2g} instead of the logarithm"
        yield function_way(f"root {exponent:.2g}", words, _root(exponent))
    if own is not None:
        top = Step("log", {"kind": kind, "floor": max(own, 1e-10)})
        for decibels in (80.0, 60.0):
            yield AudioWay(f"top {decibels:g}", f"the logarithm is cut {decibels:g} dB below the loudest value",
                           _cut(kind, decibels, top))  # fmt: skip


def _added(kind: str, added: float) -> Callable[[Values], Values]:
    step = Step("log", {"kind": kind, "floor": 1e-30})
    return lambda values: advance(mapped(values, lambda found: found + np.float32(added)), [step])


def _root(exponent: float) -> Callable[[Array], Array]:
    return lambda found: np.asarray(np.power(np.maximum(found, 0), exponent))


def _cut(kind: str, decibels: float, step: Step) -> Callable[[Values], Values]:
    span = decibels / {"db": 1.0, "log10": 10.0, "ln": 10 / np.log(10)}[kind]

    def run(values: Values) -> Values:
        return mapped(advance(values, [step]), lambda found: np.maximum(found, _most(found) - span))

    return run


def _most(found: Array) -> Array:
    return np.asarray(found.max(axis=tuple(range(1, found.ndim)), keepdims=True))
