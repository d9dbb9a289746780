"""The faults of apps for sounds: each changes one thing of a right app, and has the code that names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from support.app_faults.sounds.app import SoundApp
from support.app_faults.sounds.models import SoundModel

Change = Callable[[SoundApp, SoundModel], SoundApp]
_SPECTROGRAM, _RANGE, _RESAMPLING = ("preprocessing.spectrogram", "preprocessing.range", "preprocessing.resampling")


@dataclass(frozen=True)
class SoundFault:
    """One fault.

    Attributes:
        code: of the cause, for a model.
        change: puts it into an app.
        accepted: other codes that describe the same difference.
        fits: whether a model can have it.
    """

    code: Callable[[SoundModel], str]
    change: Change
    accepted: tuple[str, ...] = ()
    fits: Callable[[SoundModel], bool] = lambda model: True


def _fault(code: str, fits: Callable[[SoundModel], bool], accepted: tuple[str, ...] = (), **values: Any) -> SoundFault:
    return SoundFault(lambda model: code, lambda app, model: replace(app, **values), accepted, fits)


def _has_spectrum(model: SoundModel) -> bool:
    return model.length > 0


def _has_mel(model: SoundModel) -> bool:
    return model.mel is not None


def _is_resampled(model: SoundModel) -> bool:
    return model.rate != model.raw_rate


def _logs(name: str) -> SoundFault:
    """Another base: an affine difference."""
    return _fault(_RANGE, lambda model: _has_spectrum(model) and model.log != name, log=name)


def _other_power(app: SoundApp, model: SoundModel) -> SoundApp:
    return replace(app, power=3.0 - app.power)


FAULTS: dict[str, SoundFault] = {
    "window_none": _fault(_SPECTROGRAM, _has_spectrum, window="none"),
    "window_hann": _fault(_SPECTROGRAM, lambda model: _has_spectrum(model) and model.window != "hann", window="hann"),
    "window_hamming": _fault(
        _SPECTROGRAM, lambda model: _has_spectrum(model) and model.window != "hamming", window="hamming"
    ),
    "window_symmetric": _fault(_SPECTROGRAM, _has_spectrum, periodic=False),
    # Without mel bins between them, a power before a log is a factor after it.
    "power": SoundFault(
        lambda model: _SPECTROGRAM if model.mel else _RANGE, _other_power, (_SPECTROGRAM,), fits=_has_spectrum
    ),
    "log_none": _fault(_SPECTROGRAM, _has_spectrum, log="none"),
    "log_one_more": _fault(_SPECTROGRAM, _has_spectrum, log="one_more"),
    "log_ln": _logs("ln"),
    "log_log10": _logs("log10"),
    "log_db": _logs("db"),
    "mel_slaney": _fault(_SPECTROGRAM, _has_mel, mel="slaney"),
    "mel_low": _fault(_SPECTROGRAM, _has_mel, low=300.0),
    "mel_high": _fault(_SPECTROGRAM, _has_mel, high=5000.0),
    "frames_closer": SoundFault(
        lambda model: _SPECTROGRAM, lambda app, model: replace(app, step=app.step * 4 // 5), fits=_has_spectrum
    ),
    "frames_centered": _fault(_SPECTROGRAM, _has_spectrum, centered=True),
    "fft_longer": SoundFault(
        lambda model: _SPECTROGRAM,
        lambda app, model: replace(app, fft_length=1024 if model.length == 512 else 512),
        fits=_has_mel,
    ),
    "gain_int16": _fault(_RANGE, lambda model: True, gain=32768.0),
    "gain_half": _fault(_RANGE, lambda model: True, gain=0.5),
    "normalization_none": _fault(
        _RANGE, lambda model: (model.scale, model.offset) != (1.0, 0.0), scale=1.0, offset=0.0
    ),
    "normalization_other": SoundFault(
        lambda model: _RANGE, lambda app, model: replace(app, scale=app.scale * 0.7, offset=app.offset + 0.3)
    ),
    "normalization_negative": SoundFault(lambda model: _RANGE, lambda app, model: replace(app, scale=-app.scale)),
    "resample_none": _fault(_RESAMPLING, _is_resampled, resample="none"),
    "resample_linear": _fault(_RESAMPLING, _is_resampled, resample="linear"),
    "resample_decimate": _fault(_RESAMPLING, _is_resampled, resample="decimate"),
    "coarse_8_bits": _fault("preprocessing.dtype", lambda model: True, bits=8),
    "coarse_6_bits": _fault("preprocessing.dtype", lambda model: True, bits=6),
    # Not a step of any pipeline here: it is a filter before the spectrum.
    "emphasis": _fault(_SPECTROGRAM, _has_spectrum, (_RANGE, _RESAMPLING), emphasis=0.97),
}
KINDS = ("window", "power", "log", "mel", "frames", "fft", "gain", "normalization", "resample", "coarse", "emphasis")
