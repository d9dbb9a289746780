"""The models for sounds: what each takes, and its pipeline.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SoundModel:
    """A classifier of sounds.

    Attributes:
        name: of the network.
        raw_rate: of the recordings, in Hz.
        rate: that the model takes; another than raw_rate: it is resampled.
        raw_samples: of a recording.
        length: of a frame, in samples; 0: the model takes the waveform.
        step: between frames.
        window: hann or hamming.
        power: of the spectrogram.
        mel: bins, low and high in Hz; None: the spectrum itself.
        log: ln, log10 or db.
        floor: of the log.
        scale: of the normalization at the end.
        offset: of it.
    """

    name: str
    raw_rate: int
    rate: int
    raw_samples: int
    length: int = 0
    step: int = 0
    window: str = "hann"
    power: float = 2.0
    mel: tuple[int, float, float] | None = None
    log: str = "ln"
    floor: float = 1e-6
    scale: float = 1.0
    offset: float = 0.0

    def pipeline(self) -> dict[str, Any]:
        """The reference preprocessing as the content of a pipeline.json."""
        steps: list[dict[str, Any]] = []
        if self.rate != self.raw_rate:
            steps.append({"op": "resample", "to": self.rate})
        if self.length:
            steps.append({"op": "frame", "length": self.length, "step": self.step})
            steps.append({"op": "window", "kind": self.window, "periodic": True})
            steps.append({"op": "spectrogram", "power": self.power})
            if self.mel:
                bins, low, high = self.mel
                steps.append({"op": "mel", "bins": bins, "low": low, "high": high})
            steps.append({"op": "log", "kind": self.log, "floor": self.floor})
        steps.append({"op": "normalize", "scale": self.scale, "offset": self.offset})
        return {"schema": "windtunnel.pipeline/1", "task": "audio", "steps": steps}


SOUND_MODELS = {
    model.name: model
    for model in (
        SoundModel("sound_mel", 16000, 16000, 16000, 400, 160, mel=(40, 20.0, 7600.0), scale=0.25, offset=1.0),
        SoundModel(
            "sound_resampled", 44100, 16000, 33075, 512, 256, "hamming", 1.0, (32, 80.0, 7000.0), "db", 1e-5, 0.05, 1.0
        ),
        SoundModel("sound_spectrum", 8000, 8000, 8000, 256, 128, power=1.0, log="log10", floor=1e-4),
        SoundModel("wave8", 48000, 8000, 38400, scale=2.0),
    )
}
