"""How the difference between what an app feeds and what its pipeline feeds is explained (room `playback`)."""

from __future__ import annotations

from typing import Annotated

from windtunnel.diagnosis.thresholds.threshold import Threshold

ROUNDING_MISFIT: Annotated[
    float,
    Threshold(
        "nRMSE of an input",
        "Below it, an app's input is right: two roundings to 8 bits explain it.",
        "derived",
        "A rounding to 1/255 of the range has an RMSE of 1/255/sqrt(12) = 0.0011; two of them 0.0016.",
    ),
] = 0.0017

EXPLAINED_RATIO: Annotated[
    float,
    Threshold(
        "ratio of misfits",
        "An explanation with fewer differences is taken, unless another one leaves less than this share of its misfit.",
        "chosen",
        "The noise of another implementation is not explained by any difference, so that no ratio comes near it.",
    ),
] = 0.5

INPUT_UNEXPLAINED: Annotated[
    float,
    Threshold(
        "nRMSE of an input",
        "Above it, what an explanation leaves is reported as not explained.",
        "chosen",
        "Three times what another kernel of the same resize leaves.",
    ),
] = 0.03

SAME_KIND: Annotated[
    float,
    Threshold(
        "nRMSE of an input",
        "Below it, another kernel of the same name (OpenCV's and TensorFlow's bicubic) is not a cause.",
        "chosen",
        "The pipeline does not state the details of its kernel.",
    ),
] = 0.02

FRAMES_EXPLAINED: Annotated[
    int,
    Threshold(
        "frames",
        "This many frames, those with the most contrast, are explained.",
        "chosen",
        "Bounds the time of the search; more frames change no answer of the matrix.",
    ),
] = 8

PIXELS_JUDGED: Annotated[
    int,
    Threshold("pixels", "Colors, range and rounding are judged on this many pixels of all frames.", "chosen", "Speed."),
] = 60_000

ALIGNED_SIDE: Annotated[
    int,
    Threshold("pixels", "Orientation and framing are found on inputs of this side.", "chosen", "Bounds the time."),
] = 48

ALIGNED_SOURCE: Annotated[
    int,
    Threshold("pixels", "Raw images of this side are used for that.", "chosen", "Leaves room for windows of 40 %."),
] = 160

ALIGNED_WELL: Annotated[
    float,
    Threshold(
        "share of variance",
        "If every common framing leaves more, windows at edges and corners are tried too.",
        "chosen",
        "A right framing leaves below 0.02 on small copies; other colors are explained by the map between channels.",
    ),
] = 0.04

ALIGNED_BETTER: Annotated[
    float,
    Threshold(
        "ratio of unexplained shares",
        "A window that no common framing has is tried if it leaves less than this share.",
        "chosen",
        "Not measured.",
    ),
] = 0.7

TURNED_BETTER: Annotated[
    float,
    Threshold(
        "ratio of unexplained shares",
        "The expected orientation is kept unless another one leaves a share smaller by this ratio.",
        "chosen",
        "Symmetric and uniform images look the same in several orientations.",
    ),
] = 1.5

FRAMES_POLISHED: Annotated[
    int,
    Threshold("frames", "A window is found to the pixel on this many frames.", "chosen", "Bounds the time."),
] = 3

INSIDE_LEAST: Annotated[
    float,
    Threshold(
        "share of pixels",
        "If a quantized input clips more than the rest, all pixels are judged.",
        "chosen",
        "A few hundred pixels decide a line; fewer are left only if everything is clipped.",
    ),
] = 0.02

HOPELESS_TIMES: Annotated[
    float,
    Threshold(
        "ratio of unexplained shares",
        "A framing that leaves more than this many times the least share is not tried with other methods of resizing.",
        "chosen",
        "Another method of resizing changes the share of small copies by less.",
    ),
] = 4.0

MEMORY_DOUBTFUL: Annotated[
    float,
    Threshold(
        "share of variance",
        "If no geometry explains more than the rest, the other memory order is tried.",
        "chosen",
        "Pixels read in the wrong order leave over 0.8 unexplained; a wrong crop leaves up to 0.6.",
    ),
] = 0.25

MEMORY_BETTER: Annotated[
    float,
    Threshold(
        "ratio of unexplained shares",
        "The other memory order is taken if it leaves less than this share.",
        "chosen",
        "Not measured.",
    ),
] = 0.6

AUDIO_MISFIT: Annotated[
    float,
    Threshold(
        "nRMSE of an input",
        "Below it, what an app makes of audio is right.",
        "measured",
        "Front ends in float32 (SciPy, NumPy) leave up to 3e-6, a window of the wrong symmetry 4e-4 and more.",
    ),
] = 5e-5

AUDIO_NOISE_TIMES: Annotated[
    float,
    Threshold(
        "multiples",
        "The same, as multiples of what noise of 1e-7 of the waveform changes: logarithms of silence follow it.",
        "chosen",
        "Rounding in float32 grows with the logarithm of the length of an FFT.",
    ),
] = 4.0

AUDIO_VALUES_JUDGED: Annotated[
    int,
    Threshold("values", "Audio is judged on as many frames as have this many values.", "chosen", "Bounds the time."),
] = 60_000

CHAIN_BEAM: Annotated[
    int,
    Threshold(
        "combinations",
        "This many of the most promising changes are combined with another one.",
        "chosen",
        "Bounds the time of the search.",
    ),
] = 8

CHAIN_DEPTH: Annotated[
    int,
    Threshold(
        "changes",
        "At most this many steps of a pipeline are changed together; ranges, memory order and rounding come on top.",
        "chosen",
        "Bounds the time of the search.",
    ),
] = 3

CHAIN_EVALUATIONS: Annotated[
    int,
    Threshold("combinations", "At most this many are played back.", "chosen", "Bounds the time of the search."),
] = 1200

CHAIN_NEAR: Annotated[
    float,
    Threshold(
        "nRMSE of an input",
        "Below it, the search ends if another change brings no better explanation.",
        "chosen",
        "Rounding of values leaves this much; a further change would show.",
    ),
] = 5e-3

AUDIO_STEPS: Annotated[
    float,
    Threshold(
        "quantization steps",
        "An RMSE of fewer steps of a quantized input is right.",
        "derived",
        "Quantization is played back: values that lie between two steps may fall to either; truncation leaves 0.5.",
    ),
] = 0.3

TEXTS_EXPLAINED: Annotated[
    int,
    Threshold("frames", "This many texts, those that differ most, are explained.", "chosen", "Bounds the time."),
] = 48

RENUMBERED_IDS: Annotated[
    int,
    Threshold(
        "ids",
        "Another numbering of a vocabulary is believed if this many ids that appear more than once follow it.",
        "chosen",
        "Fewer can agree by chance.",
    ),
] = 8

RENUMBERED_SHARE: Annotated[
    float,
    Threshold("share of ids", "This share of them must follow it.", "chosen", "A numbering has no exceptions."),
] = 0.95

ROUNDED_PIXEL_SLACK: Annotated[
    float,
    Threshold(
        "share of a step",
        "A value is right between what a rounding gives for pixels this much lower and higher.",
        "chosen",
        "Another implementation moves a pixel by less than one level, which a rounding turns into a step.",
    ),
] = 0.1

FINE_VALUES: Annotated[
    int,
    Threshold(
        "values of a channel",
        "With more different values, nothing was rounded on the way.",
        "derived",
        "256 levels, each with some values that float32 rounds differently.",
    ),
] = 700

COARSE_VALUES: Annotated[
    int,
    Threshold(
        "values of a channel",
        "With fewer different values, roundings to few bits or decimals are tried.",
        "derived",
        "Below the 256 levels of 8 bits.",
    ),
] = 230

DEEPLY_TRIED: Annotated[
    int,
    Threshold(
        "geometries",
        "This many of the best geometries are tried with all colors, ranges and roundings.",
        "chosen",
        "Bounds the time.",
    ),
] = 3

WHOLE_PIXELS_WORSE: Annotated[
    float,
    Threshold(
        "ratio of unexplained shares",
        "A window at whole pixels is taken if it leaves no more than this many times the share.",
        "chosen",
        "Apps cut at whole pixels.",
    ),
] = 1.05

TURNED_SHARE: Annotated[
    float,
    Threshold(
        "share of variance",
        "Orientations of a frame that differ by no more are the same.",
        "chosen",
        "Rounding of small copies.",
    ),
] = 1e-3

AUDIO_UNSURE: Annotated[
    float,
    Threshold(
        "share of the range",
        "Values that a noise of float32 moves by more are not judged.",
        "chosen",
        "Logarithms of silence follow the last bits of the waveform.",
    ),
] = 1e-4

AUDIO_DEVIATIONS: Annotated[
    float,
    Threshold(
        "standard deviations",
        "A range beyond this many is that of a few values only.",
        "chosen",
        "Not measured.",
    ),
] = 8.0

AUDIO_LEAST_SURE: Annotated[
    float,
    Threshold(
        "share of values",
        "If fewer values are sure, all are judged.",
        "chosen",
        "Not measured.",
    ),
] = 0.1

AUDIO_OVERLAP: Annotated[
    float,
    Threshold(
        "share of values",
        "Frames of another grid are compared if they share this much.",
        "chosen",
        "Not measured.",
    ),
] = 0.3

AUDIO_LEAST_INSIDE: Annotated[
    int,
    Threshold(
        "values",
        "A line is fitted to this many values that a quantized input does not clip.",
        "chosen",
        "Not measured.",
    ),
] = 20

CHAIN_KEPT: Annotated[
    int,
    Threshold(
        "results",
        "Results of steps that are kept for later hypotheses.",
        "chosen",
        "Bounds the memory.",
    ),
] = 96
