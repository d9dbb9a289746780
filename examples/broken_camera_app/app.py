"""A camera app that looks right and is not: it runs without an error, and most of its answers are wrong.

The lines that record it are marked with `monitor`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from windtunnel.monitor import Monitor  # monitor

HERE = Path(__file__).parent
SIDE = 96


def prepare(photo: np.ndarray) -> np.ndarray:
    """What the model is fed for a photo.

    Args:
        photo: uint8 RGB (H, W, 3).

    Returns:
        float32 (1, 96, 96, 3).
    """
    upright = np.rot90(photo)  # the sensor is mounted turned
    small = resized(resized(upright.astype(np.float32), SIDE, 0), SIDE, 1)
    bgr = small[..., ::-1]  # as the last model wanted it
    return (bgr / 255)[None].astype(np.float32)


def resized(image: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Bilinear, along one side.

    Args:
        image: (H, W, 3).
        size: of that side.
        axis: which side.

    Returns:
        The image with that side of the new size.
    """
    last = image.shape[axis] - 1
    at = np.clip((np.arange(size) + 0.5) * (last + 1) / size - 0.5, 0, last)
    low = at.astype(int)
    share = (at - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    return image.take(low, axis) * (1 - share) + image.take(np.minimum(low + 1, last), axis) * share


def main() -> None:
    """Shows the app every photo, and prints how many answers are right."""
    with np.load(HERE / "photos.npz") as file:
        photos, labels = file["photos"], file["labels"]
    interpreter = Interpreter(str(HERE / "model.tflite"))
    monitor = Monitor(HERE / "edge-log", model=HERE / "model.tflite", app="broken camera", raw=True)  # monitor
    interpreter = monitor.interpreter(interpreter)  # monitor
    interpreter.allocate_tensors()
    place, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    right = 0
    for photo, label in zip(photos, labels, strict=True):
        with monitor.frame(raw=photo, label=int(label)):  # monitor
            interpreter.set_tensor(place, prepare(photo))
            interpreter.invoke()
            right += int(interpreter.get_tensor(result)[0].argmax() == label)
    monitor.close()  # monitor
    print(f"{right} of {len(labels)} answers are right; recorded in {HERE / 'edge-log'}")


if __name__ == "__main__":
    main()
