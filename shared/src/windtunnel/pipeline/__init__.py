"""Preprocessing as data, and the samples that it is applied to.

pipeline = Pipeline.parse(json.loads(Path("pipeline.json").read_text()))
samples = load_samples(Path("test.npz"))
for arrays in model_inputs(samples, pipeline, [InputSpec("image", (1, 224, 224, 3), "float32")]):
    ...                                      # one sample at a time, batch 1, in the model's shape and dtype
"""

from __future__ import annotations

from windtunnel.input_shapes import InputSpec, Shapes, given_shapes, shapes_fed
from windtunnel.pipeline.feed import INVALID_SAMPLES, Feed, sample_inputs, samples_fault
from windtunnel.pipeline.ops.image.resize import resize
from windtunnel.pipeline.playback import play_back
from windtunnel.pipeline.postprocess.ssd import Detections, SsdPostprocess
from windtunnel.pipeline.read_pipeline import SCHEMA, Pipeline, Step
from windtunnel.pipeline.ready_pipelines import ReadyPipeline, ready_names, ready_pipeline
from windtunnel.pipeline.run_steps import Values, advance, after_each_step, apply_steps, begin, finished
from windtunnel.pipeline.samples import Samples, load_samples
from windtunnel.pipeline.samples_to_inputs import model_inputs

__all__ = [
    "INVALID_SAMPLES",
    "SCHEMA",
    "Detections",
    "Feed",
    "InputSpec",
    "Pipeline",
    "ReadyPipeline",
    "Samples",
    "Shapes",
    "SsdPostprocess",
    "Step",
    "Values",
    "advance",
    "after_each_step",
    "apply_steps",
    "begin",
    "finished",
    "given_shapes",
    "load_samples",
    "model_inputs",
    "play_back",
    "ready_names",
    "ready_pipeline",
    "resize",
    "sample_inputs",
    "samples_fault",
    "shapes_fed",
]
