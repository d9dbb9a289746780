"""An app that classifies images, with the edge monitor: the lines marked `monitor` are all that it takes.

python examples/edge_monitor_python/camera_app.py MODEL.tflite LOG IMAGE...
windtunnel log show LOG
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from windtunnel.monitor import Monitor  # monitor

model, log, *images = sys.argv[1:]
monitor = Monitor(log, level="io", model=model, app="camera", app_version="1.4", raw=True)  # monitor
interpreter = Interpreter(model)
interpreter.allocate_tensors()
interpreter = monitor.interpreter(interpreter)  # monitor
(taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()


@monitor.function  # monitor
def preprocess(image):
    _, height, width, _ = taken["shape"]
    resized = Image.fromarray(image).resize((int(width), int(height)), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32)[None] / 127.5 - 1


for path in images:
    image = np.asarray(Image.open(path).convert("RGB"))
    with monitor.frame(raw=image):  # monitor
        interpreter.set_tensor(taken["index"], preprocess(image))
        interpreter.invoke()
        scores = interpreter.get_tensor(given["index"])
    print(path, "class", int(scores.argmax()))
