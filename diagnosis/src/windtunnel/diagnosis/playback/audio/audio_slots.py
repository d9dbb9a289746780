"""The slots of a pipeline for audio: its steps in order, with other ways, and what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.playback.audio.spectral_ways import (
    frame_slot,
    log_slot,
    mel_slot,
    spectrum_slot,
    window_slot,
)
from windtunnel.diagnosis.playback.audio.wave_ways import (
    KEEP,
    AudioSlot,
    AudioWay,
    pad_slot,
    resample_slot,
    step_way,
    wave_slots,
)
from windtunnel.pipeline import Step


def audio_slots(steps: Sequence[Step], rate: float | None, floors: Sequence[float]) -> list[AudioSlot]:
    """The slots of a pipeline for audio.

    Args:
        steps: of the pipeline.
        rate: of the raw waveform, Hz; None: not known.
        floors: of a logarithm, that what the app fed suggests.

    Returns:
        The slots, in the order in which they run.
    """
    return list(_slots(steps, rate, floors))


def _slots(steps: Sequence[Step], rate: float | None, floors: Sequence[float]) -> Iterator[AudioSlot]:
    yield from wave_slots()
    ops = [step.op for step in steps]
    if "resample" not in ops and (found := resample_slot(None, rate)) is not None:
        yield found
    for place, step in enumerate(steps):
        yield from _of_step(step, ops[place:], rate, floors)
        if step.op == "resample":
            rate = float(step.fields["to"])
        if step.op == "frame" and "window" not in ops:
            yield window_slot(None)
        is_end = step.op == "mel" or (step.op == "spectrogram" and "mel" not in ops)
        if is_end and "log" not in ops:
            yield log_slot(None, ())


def _of_step(step: Step, ahead: Sequence[str], rate: float | None, floors: Sequence[float]) -> Iterator[AudioSlot]:
    """The slot of a step."""
    found: AudioSlot | None = None
    if step.op == "resample":
        found = resample_slot(step, rate)
    elif step.op == "pad":
        found = pad_slot(step)
    elif step.op == "frame":
        found = frame_slot(step, rate)
    elif step.op == "window":
        found = window_slot(step)
    elif step.op == "spectrogram":
        found = spectrum_slot(step)
    elif step.op == "mel":
        found = mel_slot(step, rate)
    elif step.op == "log":
        found = log_slot(step, floors)
    elif step.op == "normalize" and len(ahead) > 1:
        words = f"values times {step.fields['scale']} plus {step.fields['offset']}"
        missing = AudioWay("missing", f"no normalization before {ahead[1]}", KEEP.run)
        own = step_way("own", words, step)
        found = AudioSlot("normalize", CauseCode.PREPROCESSING_RANGE, own, (missing,))
    yield found or AudioSlot(step.op, CauseCode.PREPROCESSING_SPECTROGRAM, step_way("own", step.op, step), ())
