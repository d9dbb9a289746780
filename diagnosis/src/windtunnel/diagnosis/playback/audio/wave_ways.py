"""Other ways to treat a waveform before it is cut into frames: gain, rate, rounding, padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.playback.synthesis.chain_search import Slot, Way
from windtunnel.pipeline import Step, Values, advance

Array = NDArray[Any]
AudioWay = Way[Values]
AudioSlot = Slot[Values]
RATES: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_BITS: Final = (8, 4, 5, 6, 7, 10, 12)
_GAINS: Final = (32_768.0, 32_767.0, 1 / 32_768, 255.0, 128.0, 1 / 255, 0.5, 2.0, 0.1, 10.0)
KEEP: Final = AudioWay("as it is", "values are not changed", lambda values: values)


def mapped(values: Values, function: Callable[[Array], Array]) -> Values:
    """Values after a function of each array (n, ...).

    Args:
        values: before it.
        function: works on all samples of one shape.

    Returns:
        Values in float32.
    """
    return replace(values, parts=tuple(np.asarray(function(one), np.float32) for one in values.parts))


def step_way(name: str, words: str, step: Step) -> AudioWay:
    """A step of a pipeline as a way.

    Args:
        name: of the way.
        words: for people.
        step: the step.

    Returns:
        The way.
    """
    return AudioWay(name, words, lambda values: advance(values, [step]))


def function_way(name: str, words: str, function: Callable[[Array], Array]) -> AudioWay:
    """A function of arrays as a way.

    Args:
        name: of the way.
        words: for people.
        function: from (n, ...) to (n, ...).

    Returns:
        The way.
    """
    return AudioWay(name, words, lambda values: mapped(values, function))


def wave_slots() -> Iterator[AudioSlot]:
    """What may happen to a waveform before all steps.

    Yields:
        Slots whose own way changes nothing.
    """
    rounded = (
        function_way("whole", "samples are truncated to whole numbers before they are scaled", np.trunc),
        *(function_way(f"{bits} bits", f"samples are rounded to {bits} bits", _bits(bits)) for bits in _BITS),
        function_way("8 bits down", "samples are truncated to 8 bits", lambda wave: np.floor(wave * 128) / 128),
        function_way("8 bits cut", "samples are truncated to 8 bits", lambda wave: np.trunc(wave * 128) / 128),
        function_way("127", "samples are rounded to 8 bits", lambda wave: np.rint(wave * 127) / 127),
    )
    own = AudioWay("as recorded", "samples keep their fraction", KEEP.run)
    yield AudioSlot("wave rounding", CauseCode.PREPROCESSING_DTYPE, own, rounded)
    own = AudioWay("as recorded", "the waveform is in [-1, 1] as it was recorded", KEEP.run)
    yield AudioSlot("gain", CauseCode.PREPROCESSING_RANGE, own, tuple(_gains()))
    emphasis = tuple(
        function_way(f"emphasis {share}", f"a pre-emphasis of {share}", _emphasis(share)) for share in (0.97, 0.95)
    )
    own = AudioWay("none", "no pre-emphasis", KEEP.run)
    yield AudioSlot("pre-emphasis", CauseCode.PREPROCESSING_SPECTROGRAM, own, emphasis)


def _bits(bits: int) -> Callable[[Array], Array]:
    steps = 2 ** (bits - 1)
    return lambda wave: np.asarray(np.rint(wave * steps) / steps)


def _gains() -> Iterator[AudioWay]:
    for gain in _GAINS:
        why = " (16-bit samples are not scaled to [-1, 1])" if gain in (32_768.0, 32_767.0) else ""
        yield function_way(f"times {gain:g}", f"the waveform is multiplied by {gain:g}{why}", _times(gain))
    yield function_way("peak", "each waveform is divided by its peak", lambda wave: wave / _peak(wave))
    yield function_way("rms", "each waveform is divided by its RMS", lambda wave: wave / _rms(wave))
    yield function_way("centered", "each waveform is freed of its mean", _centered)
    yield function_way("standardized", "each waveform is freed of its mean and divided by its standard deviation",
                       lambda wave: _centered(wave) / _rms(_centered(wave)))  # fmt: skip
    yield function_way("0 to 1", "the waveform is moved to [0, 1]", lambda wave: (wave + 1) / 2)
    yield function_way("clipped", "the waveform is clipped at half of its range", lambda wave: np.clip(wave, -0.5, 0.5))


def _times(gain: float) -> Callable[[Array], Array]:
    return lambda wave: wave * np.float32(gain)


def _emphasis(share: float) -> Callable[[Array], Array]:
    return lambda wave: np.concatenate([wave[:, :1], wave[:, 1:] - np.float32(share) * wave[:, :-1]], axis=1)


def _peak(wave: Array) -> Array:
    return np.asarray(np.maximum(np.abs(wave).max(axis=1, keepdims=True), 1e-9))


def _rms(wave: Array) -> Array:
    return np.asarray(np.maximum(np.sqrt(np.square(wave, dtype=np.float64).mean(axis=1, keepdims=True)), 1e-9))


def _centered(wave: Array) -> Array:
    return np.asarray(wave - wave.mean(axis=1, keepdims=True, dtype=np.float64))


def resample_slot(step: Step | None, now: float | None) -> AudioSlot | None:
    """Ways to change the rate.

    Args:
        step: of the pipeline; None: it has none.
        now: rate of the raw waveform, Hz; None: not known.

    Returns:
        The slot; None: nothing can be tried.
    """
    if now is None or now != int(now):
        return None
    to = now if step is None else float(step.fields["to"])
    method = "polyphase" if step is None else step.fields["method"]
    own = KEEP if step is None else step_way("own", f"resampled to {to:g} Hz ({method})", step)
    if step is None:
        own = AudioWay("own", f"not resampled ({now:g} Hz)", KEEP.run)
    return AudioSlot("resample", CauseCode.PREPROCESSING_RESAMPLING, own, tuple(_resamplings(now, to, method)))


def _resamplings(now: float, to: float, own: str) -> Iterator[AudioWay]:
    if now != to:
        yield AudioWay("missing", f"not resampled, {now:g} Hz is taken for {to:g} Hz", lambda one: _relabeled(one, to))
        for method in ("polyphase", "linear"):
            if method != own:
                yield _resampled(to, to, method, f"resampled to {to:g} Hz ({method})")
        yield from _without_filter(now, to)
    for rate in RATES:
        if rate not in (to, now):
            for method in ("polyphase", "linear"):
                words = f"resampled to {rate:g} Hz ({method}), which is taken for {to:g} Hz"
                yield _resampled(rate, to, method, words)
        if rate < min(now, to):
            yield AudioWay(f"through {rate}", f"resampled to {rate} Hz and back", partial(_through, rate=rate, to=to))


def _resampled(rate: float, label: float, method: str, words: str) -> AudioWay:
    step = Step("resample", {"to": rate, "method": method})
    return AudioWay(f"{rate:g} {method}", words, lambda one: _relabeled(advance(one, [step]), label))


def _through(values: Values, rate: float, to: float) -> Values:
    steps = [Step("resample", {"to": one, "method": "polyphase"}) for one in (rate, to)]
    return advance(values, steps)


def _relabeled(values: Values, rate: float) -> Values:
    return replace(values, sample_rate_hz=rate)


def _without_filter(now: float, to: float) -> Iterator[AudioWay]:
    ratio = now / to
    picks = {
        "floor": ("the nearest sample before", lambda place: np.floor(place + 1e-9)),
        "nearest": ("the nearest sample", lambda place: np.floor(place + 0.5)),
    }
    for name, (words, rounding) in picks.items():
        yield AudioWay(
            name,
            f"resampled to {to:g} Hz by picking {words}",
            partial(_by_picking, ratio=ratio, to=to, rounding=rounding),
        )
    yield AudioWay("ideal", f"resampled to {to:g} Hz with an ideal lowpass (FFT)",
                   lambda one: _relabeled(mapped(one, lambda wave: _ideal(wave, ratio)), to))  # fmt: skip
    if ratio == int(ratio) and ratio > 1:
        yield AudioWay("averaged", f"resampled to {to:g} Hz by averaging {int(ratio)} samples",
                       lambda one: _relabeled(mapped(one, lambda wave: _averaged(wave, int(ratio))), to))  # fmt: skip
    yield AudioWay("ends", f"resampled to {to:g} Hz linearly, from the first to the last sample",
                   lambda one: _relabeled(mapped(one, lambda wave: _between_ends(wave, ratio)), to))  # fmt: skip


def _by_picking(values: Values, ratio: float, to: float, rounding: Callable[[Array], Array]) -> Values:
    return _relabeled(mapped(values, lambda wave: _picked(wave, ratio, rounding)), to)


def _picked(wave: Array, ratio: float, rounding: Callable[[Array], Array]) -> Array:
    places = rounding(np.arange(int(np.ceil(wave.shape[1] / ratio))) * ratio).astype(np.intp)
    return wave[:, np.minimum(places, wave.shape[1] - 1)]


def _ideal(wave: Array, ratio: float) -> Array:
    count = round(wave.shape[1] / ratio)
    spectrum = np.fft.rfft(wave.astype(np.float64), axis=1)
    kept = np.zeros((len(wave), count // 2 + 1), complex)
    least = min(kept.shape[1], spectrum.shape[1])
    kept[:, :least] = spectrum[:, :least]
    return np.asarray(np.fft.irfft(kept, count, axis=1) * (count / wave.shape[1]))


def _averaged(wave: Array, times: int) -> Array:
    count = wave.shape[1] // times
    return np.asarray(wave[:, : count * times].reshape(len(wave), count, times).mean(axis=2))


def _between_ends(wave: Array, ratio: float) -> Array:
    count = round(wave.shape[1] / ratio)
    places = np.linspace(0, wave.shape[1] - 1, count)
    lower = np.minimum(places.astype(np.intp), wave.shape[1] - 2)
    share = places - lower
    return np.asarray(wave[:, lower] * (1 - share) + wave[:, lower + 1] * share)


def pad_slot(step: Step) -> AudioSlot:
    """Ways to bring waveforms to one length.

    Args:
        step: `pad` of the pipeline.

    Returns:
        The slot.
    """
    length, value = step.fields["length"], step.fields["value"]
    own = step_way("own", f"waveforms are cut or filled at the end, to {length} samples", step)
    others = [
        AudioWay(name, words, partial(_each, fit=fit, length=length, value=value))
        for name, words, fit in (
            ("front", "waveforms are cut or filled at the front", _front),
            ("middle", "waveforms are cut or filled at both ends", _middle),
            ("repeated", "waveforms are repeated to the length", _repeated),
            ("tail", "the end of waveforms is kept, and filled at the end", _tail),
        )
    ]
    return AudioSlot("pad", CauseCode.PREPROCESSING_CROP, own, tuple(others))


def _each(values: Values, fit: Callable[[Array, int, float], Array], length: int, value: float) -> Values:
    parts = [np.asarray(fit(part, length, value), np.float32) for part in values.parts]
    joined = (np.concatenate(parts),) if len({part.shape[1:] for part in parts}) == 1 else tuple(parts)
    return replace(values, parts=joined)


def _filled(wave: Array, before: int, length: int, value: float) -> Array:
    result = np.full((len(wave), length), value, wave.dtype)
    result[:, before : before + wave.shape[1]] = wave
    return result


def _front(wave: Array, length: int, value: float) -> Array:
    kept = wave[:, -length:]
    return _filled(kept, length - kept.shape[1], length, value)


def _tail(wave: Array, length: int, value: float) -> Array:
    return _filled(wave[:, -length:], 0, length, value)


def _middle(wave: Array, length: int, value: float) -> Array:
    spare = max(0, (wave.shape[1] - length) // 2)
    kept = wave[:, spare : spare + length]
    return _filled(kept, (length - kept.shape[1]) // 2, length, value)


def _repeated(wave: Array, length: int, value: float) -> Array:
    return np.tile(wave, (1, -(-length // wave.shape[1])))[:, :length]
