"""The apps of the matrix: right ones feed what the pipeline says, and each fault changes it."""

import numpy as np
import pytest

from support.app_faults.beyond import KERNELS, LABELS
from support.app_faults.images.app import prepared, right_app, to_yuv
from support.app_faults.images.cases import distance, level, libraries
from support.app_faults.images.faults import FAULTS
from support.app_faults.images.models import IMAGE_MODELS, ImageModel
from support.app_faults.images.photos import CLASSES, photos
from support.app_faults.images.plan import image_plan
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.pipeline import Pipeline

_MODELS = [model for model in IMAGE_MODELS.values() if model.raw == "rgb"]
_SIZES = [(120, 160), (235, 313), (31, 24)]


@pytest.mark.heavy
@pytest.mark.parametrize("model", _MODELS, ids=lambda model: model.name)
def test_a_right_app_differs_from_the_pipeline_by_its_rounding_alone(model: ImageModel) -> None:
    pipeline = Pipeline.parse(model.pipeline())
    sizes = _SIZES[:2] if model.method == "area" else _SIZES
    raw = photos(range(len(CLASSES)), 3, sizes)
    wanted = [pipeline.apply(one[None])[0] for one in raw]
    for library in libraries(model):
        app = right_app(model, library)
        assert distance(prepared(app, model, raw, 0, None), wanted, None) < 0.6 * level(app, None), library


@pytest.mark.heavy
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_changes_what_reaches_the_model(name: str) -> None:
    fault = FAULTS[name]
    model = next(model for model in IMAGE_MODELS.values() if fault.fits(model, "float32") or fault.fits(model, "int8"))
    raw = photos(range(4), 5, [(180, 300)])
    raw = [to_yuv(one) for one in raw] if model.raw == "yuv" else raw
    right = right_app(model, libraries(model)[-1])
    wrong = fault.change(right, model, np.random.default_rng(1))
    assert fault.code in list(CauseCode)
    assert wrong != right
    if fault.fits(model, "float32"):
        before, after = (prepared(app, model, raw, 3, None) for app in (right, wrong))
        assert distance(before, after, None) > 0.2 * level(right, None)


def test_the_plan_names_every_fault_and_right_apps() -> None:
    names = image_plan(1, all_models=False)
    planted = {fault for name in names for fault in name.split("/")[4].split("+")}

    assert set(FAULTS) | set(LABELS) | set(KERNELS) | {"clean"} == planted
    assert names == image_plan(1, all_models=False)
    assert len(set(names)) == len(names)


def test_the_yuv_of_gray_has_no_color() -> None:
    gray = np.full((2, 2, 3), 77, np.uint8)

    assert to_yuv(gray)[0, 0].tolist() == [77, 128, 128]
    assert to_yuv(gray, range_="video")[0, 0].tolist() == [82, 128, 128]
