"""litert-quantizer. Native code: only in a child process."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils, mmap_utils
from litert_quantizer import calibrator, model_modifier, params_generator, qtyping, recipe, recipe_manager
from litert_quantizer.utils import qsv_utils
from numpy.typing import NDArray

from windtunnel import isolation
from windtunnel.artifacts.stores.port import whole_file
from windtunnel.diagnosis.quantize.recipe_rules import check_rules, left_float
from windtunnel.diagnosis.quantize.variants import Calibration, LeftFloat, Made, loops, not_calibrated, require_float
from windtunnel.errors import InvalidInput
from windtunnel.pipeline import sample_inputs
from windtunnel.plan import VariantSpec
from windtunnel.tflite import ModelFacts, input_specs, read_model

Sample = Mapping[str, NDArray[Any]]
# What calibration has seen of each tensor: name -> {"min": ..., "max": ...}, for some algorithms more.
Ranges = dict[str, dict[str, Any]]

_SIGNATURE = "serving_default"
# The library makes a list of what it is given; in chunks a large calibration set stays out of memory.
_CHUNK = 16
_MIN_MAX_ONLY = frozenset({"min_max_uniform_quantize", "float_casting", "no_quantize", "MSE", "OCTAV"})
# What the library says of a tensor that calibration has not seen.
_UNSEEN = "tensor_name_to_qsv"
# What the library raises on a model or recipe that it cannot work with.
_REFUSALS = (ValueError, RuntimeError, KeyError, TypeError, AttributeError, NotImplementedError)


def quantize(
    path: Path, target: Path, variant: VariantSpec, calibration: Calibration | None, pipeline: Mapping[str, Any] | None
) -> Made:
    """Writes a variant of a float32 model.

    Args:
        path: the model.
        target: the new file.
        variant: what to make.
        calibration: the calibration set; None: the variant needs none.
        pipeline: content of a pipeline.json, for the calibration samples.

    Returns:
        How many samples calibrated it, and which ops stay float.

    Raises:
        InvalidInput: the model, the recipe or the calibration set cannot be used; the message says which part of it.
    """
    data, model = _read(path)
    facts = read_model(path)
    require_float(facts, variant)
    changed = _complete(model)
    rules = _rules(variant, model)
    own, left = recipe_ranges(variant, facts), _left_float(variant, rules, model, facts)
    count, ranges = 0, None
    if calibration is not None:
        sized = _sized(model, facts, calibration, pipeline)
        whole = _bytes_of(model, sized) if changed or sized else bytes(data)
        count, ranges = _calibrate(whole, facts, rules, calibration, pipeline)
        ranges = _with_own(ranges, own)
    isolation.progress(0.9, f"quantizing {variant.name}")
    try:
        result = _modified(model, rules, ranges, variant)
    except InvalidInput as error:
        if ranges is not None and loops(facts) and _UNSEEN in error.message:
            raise not_calibrated(facts, variant) from error
        raise
    with whole_file(target) as out:
        out.write(result)
    return Made(count, left)


def _sized(
    model: Any, facts: ModelFacts, calibration: Calibration, pipeline: Mapping[str, Any] | None
) -> dict[int, tuple[int, ...]]:
    """Shapes of the first calibration sample by input tensor, for a model whose inputs have dynamic dimensions.

    The library allocates the model as the file has it before it resizes the inputs, and a file has 1 for an open
    dimension, which convolutions and strides without padding refuse.
    """
    if not any(-1 in tensor.shape_signature for tensor in facts.inputs):
        return {}
    first = next(_samples(facts, calibration, pipeline), {})
    shapes = {tensor: first[tensor.name].shape for tensor in facts.inputs if tensor.name in first}
    return {tensor.index: shape for tensor, shape in shapes.items() if shape != tensor.shape}


def _bytes_of(model: Any, shapes: Mapping[int, tuple[int, ...]]) -> bytes:
    """The model as a file, in which the inputs have `shapes`; `model` itself stays as it is."""
    tensors = model.subgraphs[0].tensors
    before = {index: tensors[index].shape for index in shapes}
    try:
        for index, shape in shapes.items():
            tensors[index].shape = np.asarray(shape, np.int32)
        return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    finally:
        for index, old in before.items():
            tensors[index].shape = old


def _modified(model: Any, rules: Any, ranges: Ranges | None, variant: VariantSpec) -> Any:
    """The bytes of the variant."""
    advice = "check the rules of the recipe" if variant.recipe is not None else "convert the model again"
    # A user's recipe may ask for what no model allows; without one, the library refuses the model itself.
    code = None if variant.recipe is not None else "not_quantizable"
    with _library(f"variant {variant.name!r} cannot be made", advice, code):
        generator = params_generator.ParamsGenerator(model)
        parameters = generator.generate_quantization_parameters(_manager(rules), ranges, enable_progress_bar=False)
        return model_modifier.ModelModifier(model).modify_model(parameters)


def _read(path: Path) -> tuple[memoryview, Any]:
    """The file's bytes, and the model in them as the library's objects, with constants that lie outside of it.

    Raises:
        InvalidInput: the library cannot read it.
    """
    try:
        data = mmap_utils.get_file_contents(path)
        return data, flatbuffer_utils.read_model_from_bytearray(data)
    except Exception as error:
        # The library does not say what is wrong with a damaged file; our own reader does.
        read_model(path)
        raise InvalidInput(f"{path.name} cannot be read by litert-quantizer: {error}") from error


@contextmanager
def _library(what: str, hint: str, code: str | None = None) -> Iterator[None]:
    """Turns what the library raises into InvalidInput that says `what` failed, with `code` where it is given.

    Raises:
        InvalidInput: the library raised.
    """
    try:
        with warnings.catch_warnings():
            # The interpreter warns that keeping all tensors takes memory: that is what the library asks for.
            warnings.simplefilter("ignore", UserWarning)
            yield
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{what}: a name in the model is not UTF-8 ({error.object[:40]!r})",
            hint="the file is damaged: copy or convert it again",
        ) from error
    except _REFUSALS as error:
        said = f"no field {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise InvalidInput(f"{what}: {said}", hint=hint, code=code) from error


def _rules(variant: VariantSpec, model: Any) -> list[dict[str, Any]]:
    """The recipe of `variant`, checked for `model`."""
    with _library(
        f"recipe of variant {variant.name!r} cannot be used", "check its rules, and whether the model is whole"
    ):
        check_rules(variant, model)
        rules: list[dict[str, Any]] = _manager(_recipe(variant)).get_quantization_recipe()
        return rules


def _left_float(variant: VariantSpec, rules: Any, model: Any, facts: ModelFacts) -> tuple[LeftFloat, ...]:
    return () if variant.recipe is None else left_float(variant, _manager(rules), model, facts)


def recipe_ranges(variant: VariantSpec, facts: ModelFacts) -> dict[str, tuple[float, float]]:
    """Ranges of activations that the recipe fixes, under `ranges` of any rule.

    They take precedence over what the calibration set shows. The library ignores the field.

    Args:
        variant: with a recipe.
        facts: of the model.

    Returns:
        (low, high), in real units, by tensor name.

    Raises:
        InvalidInput: the model does not have a tensor, or a range is not one.
    """
    known = {tensor.name for tensor in facts.tensors}
    found: dict[str, tuple[float, float]] = {}
    for rule in variant.recipe or ():
        for name, bounds in rule.get("ranges", {}).items():
            if name not in known:
                raise InvalidInput(
                    f"recipe of variant {variant.name!r} has a range for {name!r}, which is not a tensor of the model"
                )
            found[name] = _bounds(variant, name, bounds)
    return found


def _bounds(variant: VariantSpec, name: str, bounds: Any) -> tuple[float, float]:
    numbers = isinstance(bounds, (list, tuple)) and all(type(one) in (int, float) for one in bounds)
    if not numbers or len(bounds) != 2 or not np.isfinite(bounds).all() or not bounds[0] < bounds[1]:
        raise InvalidInput(
            f"recipe of variant {variant.name!r}: the range of {name!r} is {bounds!r}", hint="give [low, high]"
        )
    return float(bounds[0]), float(bounds[1])


def _with_own(ranges: Ranges, own: Mapping[str, tuple[float, float]]) -> Ranges:
    """What calibration saw, with the recipe's own ranges in their places and shapes."""
    widened = dict(ranges)
    for name, bounds in own.items():
        seen = ranges.get(name, {})
        widened[name] = {
            **seen,
            **{
                key: np.full_like(seen.get(key, np.zeros((), np.float32)), bound, dtype=np.float32)
                for key, bound in zip(("min", "max"), bounds, strict=True)
            },
        }
    return widened


def _manager(rules: Any) -> Any:
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(rules)
    return manager


def _recipe(variant: VariantSpec) -> Any:
    if variant.recipe is not None:
        return [dict(rule) for rule in variant.recipe]
    return BUILTIN[variant.name]()


def _float16() -> Any:
    manager = recipe_manager.RecipeManager()
    manager.add_weight_only_config(".*", qtyping.TFLOperationName.ALL_SUPPORTED, 16, algorithm_key="float_casting")
    return manager.get_quantization_recipe()


BUILTIN: Mapping[str, Callable[[], Any]] = {
    "float16": _float16,
    "dynamic_range": recipe.dynamic_wi8_afp32,
    "int8": recipe.static_wi8_ai8,
    "int16x8": recipe.static_wi8_ai16,
}


def _complete(model: Any) -> bool:
    """Adds what the library takes for granted, wide op codes and a signature; whether anything was missing.

    Old converters fill only the byte-wide op code, and then the library takes every op for ADD.
    """
    old = [code for code in model.operatorCodes if code.builtinCode < code.deprecatedBuiltinCode]
    for code in old:
        code.builtinCode = code.deprecatedBuiltinCode
    signatures = model.signatureDefs or []
    unsigned = all(signature.subgraphIndex != 0 for signature in signatures)
    model.signatureDefs = [*signatures, _new_signature(model.subgraphs[0])] if unsigned else signatures
    return bool(old) or unsigned


def _new_signature(graph: Any) -> Any:
    """Inputs and outputs under their tensors' own names."""

    def entry(index: int) -> Any:
        found = schema.TensorMapT()
        found.name, found.tensorIndex = graph.tensors[index].name, index
        return found

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = _SIGNATURE.encode(), 0
    signature.inputs = [entry(index) for index in graph.inputs]
    signature.outputs = [entry(index) for index in graph.outputs]
    return signature


def _calibrate(
    data: bytes, facts: ModelFacts, rules: Any, calibration: Calibration, pipeline: Mapping[str, Any] | None
) -> tuple[int, Ranges]:
    """Number of samples, and the true minimum and maximum of every tensor over them.

    The library's own default is a moving average, which cuts off what few samples reach.
    """
    modes = [calibrator.CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS]
    if all(rule["algorithm_key"] in _MIN_MAX_ONLY for rule in rules):
        # Thirty times faster; but it knows minimum and maximum only.
        modes.insert(0, calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED)
    for mode in modes:
        count, ranges = _observe(data, facts, rules, mode, _samples(facts, calibration, pipeline))
        if all(tensor in ranges for tensor in _activations(facts)):
            break
    _require_finite(ranges)
    return count, ranges


def _observe(data: bytes, facts: ModelFacts, rules: Any, mode: Any, samples: Iterator[Sample]) -> tuple[int, Ranges]:
    signature = next((found for found in facts.signatures if found.graph == 0), None)
    key = signature.key if signature else _SIGNATURE
    names = {index: name for name, index in signature.inputs.items()} if signature else {}
    fed = {tensor.name: names.get(tensor.index, tensor.name) for tensor in facts.inputs}
    manager = _manager(rules)
    count = 0
    shown = "check that its samples have a size that the model can take, which float32 takes as well"
    with _library("the model cannot be run on the calibration set", shown):
        observer = calibrator.Calibrator(data, num_threads=1, mode=mode, qsv_update_func=_widened)
        while chunk := [_named(sample, fed) for sample in itertools.islice(samples, _CHUNK)]:
            observer.calibrate({key: chunk}, manager)
            count += len(chunk)
            isolation.progress(0.8 * count / (count + _CHUNK), f"calibrating: {count} samples")
    return count, dict(observer.get_model_qsvs())


def _named(sample: Sample, names: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    return {names[tensor]: array for tensor, array in sample.items()}


def _widened(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Statistics of a tensor over both: the widest range; the library merges what other algorithms collect."""
    if not old or not new:
        return old or new
    more: dict[str, Any] = {}
    if "hessian" in new:
        more = qsv_utils.gptq_and_moving_average_update(old, new)
    elif "mu2" in new:
        more = qsv_utils.oscar_and_moving_average_update(old, new)
    return {**more, **qsv_utils.min_max_update(old, new)}


def _samples(
    facts: ModelFacts, calibration: Calibration, pipeline: Mapping[str, Any] | None
) -> Iterator[dict[str, NDArray[Any]]]:
    """The calibration samples by tensor name. Raises InvalidInput for a set that does not fit the model.

    Raises:
        InvalidInput: the set does not fit the model.
    """
    try:
        feed = sample_inputs(calibration.samples, pipeline, input_specs(facts))
        yield from itertools.islice(feed, calibration.limit)
    except InvalidInput as error:
        raise InvalidInput(f"calibration set: {error.message}", hint=error.hint, code=error.code) from error


def _activations(facts: ModelFacts) -> list[str]:
    """Names of the float tensors of the main graph that depend on the input and that somebody reads.

    For a result that nobody reads (a part of a SPLIT in a recurrent cell) the runtime keeps no memory.
    """
    outputs = {index for op in facts.ops for index in op.outputs if index >= 0}
    indices = {*facts.main.input_indices, *(outputs & facts.main.read)} - facts.main.fixed
    return [facts.tensors[index].name for index in sorted(indices) if facts.tensors[index].dtype == "float32"]


def _require_finite(ranges: Ranges) -> None:
    for name, found in ranges.items():
        for bound in ("min", "max"):
            if bound in found and not np.isfinite(found[bound]).all():
                raise InvalidInput(
                    f"tensor {name!r} reaches NaN or infinity on the calibration set",
                    hint="the float model itself fails on these samples: does the pipeline fit the model?",
                    code="non_finite",
                )
