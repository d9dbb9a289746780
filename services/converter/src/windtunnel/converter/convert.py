"""Conversion with TensorFlow: the use case, wired."""

from __future__ import annotations

from functools import partial

from windtunnel.converter.adapters.tensorflow_job import tensorflow_job
from windtunnel.converter.use_cases import convert_model

# As `convert_model.convert`, with TensorFlow in a child process.
convert = partial(convert_model.convert, tensorflow_job)
