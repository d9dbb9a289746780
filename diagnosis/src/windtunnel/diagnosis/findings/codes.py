"""The codes of causes: the one list, from which the enum in diagnosis.schema.json is generated.

Users and other programs rely on them: add codes, never rename or drop one.
"""

from __future__ import annotations

from enum import StrEnum


class CauseCode(StrEnum):
    """What a cause, or an exclusion, is about."""

    PREPROCESSING_CHANNEL_ORDER = "preprocessing.channel_order"
    PREPROCESSING_LAYOUT = "preprocessing.layout"
    PREPROCESSING_RESIZE = "preprocessing.resize"
    PREPROCESSING_CROP = "preprocessing.crop"
    PREPROCESSING_RANGE = "preprocessing.range"
    PREPROCESSING_ORIENTATION = "preprocessing.orientation"
    PREPROCESSING_DTYPE = "preprocessing.dtype"
    PREPROCESSING_SPECTROGRAM = "preprocessing.spectrogram"
    PREPROCESSING_TEXT = "preprocessing.text"
    PREPROCESSING_COLOR = "preprocessing.color"
    PREPROCESSING_RESAMPLING = "preprocessing.resampling"
    POSTPROCESSING_DECODE = "postprocessing.decode"
    POSTPROCESSING_THRESHOLD = "postprocessing.threshold"
    POSTPROCESSING_NMS = "postprocessing.nms"
    CONVERSION_WEIGHTS = "conversion.weights"
    CONVERSION_OP = "conversion.op"
    CONVERSION_OUTPUTS = "conversion.outputs"
    CALIBRATION_CLIPPED = "quantization.calibration_clipped"
    CALIBRATION_WIDE = "quantization.calibration_wide"
    PER_TENSOR = "quantization.per_tensor"
    SHARED_SCALE = "quantization.shared_scale"
    PARAMETERS = "quantization.parameters"
    ACCUMULATED = "quantization.accumulated"
    KERNEL = "kernel"
    OUTPUT_LABELS = "output.labels"
    LATENCY_STRAGGLER = "latency.straggler"
    LATENCY_FALLBACK = "latency.fallback"

    @property
    def is_conversion(self) -> bool:
        """Whether it is a fault that the conversion made: another op, other constants, other outputs."""
        return self.startswith("conversion.")

    @property
    def is_quantization(self) -> bool:
        """Whether it is a fault of scales, zero points or ranges."""
        return self.startswith("quantization.")
