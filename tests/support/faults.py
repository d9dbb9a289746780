"""The fault matrix: pairs of models with one known fault, or none, made from seeds.

`plan` names the cases of an architecture; `make` writes one of them. A case is named
architecture/form/kind/stage/seed; `stage` says whether the fault came into the float model and was quantized with it
(`before`), into the finished file (`after`), also against a reference that is written differently (`crossed`), or
while quantizing (`calibration`); `clean` pairs have none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from support import fault_calibration, fault_clean, fault_ops, fault_parameters, fault_rewrites, fault_weights
from support.architectures import Architecture, architecture
from support.fault_files import File
from support.fault_hits import Fault, Hit
from support.fault_runs import difference, known_outputs, outputs, quantize, ranges, samples_of

FLOATS = ("float32", "float16")
# Faults that are also made if the reference is written differently from the candidate.
_CROSSED = (
    "noise_20", "permute_out", "permute_in", "bias_zero", "sign_channel", "relu_dropped", "relu6_to_relu", "add_to_sub",
    "dilation", "average_to_max", "zero_channel",
)  # fmt: skip
# A fault that changes nothing is tried in so many other places.
_ATTEMPTS = 4
# nRMSE of the worst output above which a candidate is not healthy, whatever the reason.
_UNSOUND = 0.06
FULL_INTEGER = ("int8", "int16x8", "tf_int8", "tf_int16x8")


@dataclass(frozen=True)
class Spec:
    """The name of a case."""

    arch: str
    form: str
    kind: str
    stage: str
    seed: int = 0

    @property
    def name(self) -> str:
        return "/".join((self.arch, self.form, self.kind, self.stage, str(self.seed)))

    @classmethod
    def parse(cls, name: str) -> Spec:
        arch, form, kind, stage, seed = name.split("/")
        return cls(arch, form, kind, stage, int(seed))

    def draw(self, attempt: int = 0) -> np.random.Generator:
        """Its own stream of random numbers."""
        return np.random.default_rng((zlib.crc32(self.name.encode()), attempt))


@dataclass(frozen=True)
class Case:
    """A pair of models and what a diagnosis of it must say.

    `codes`: accepted codes of the first cause; empty: healthy, no cause. `layers`: accepted names of the place;
    empty: no place is asked for. `effect`: nRMSE of the worst output against the candidate without the fault;
    `noise`: that of the candidate without the fault against the reference; both infinite where values are not finite.
    """

    spec: Spec
    reference: Path
    candidate: Path
    samples: Path
    codes: tuple[str, ...]
    layers: frozenset[str]
    op_indices: frozenset[int]
    what: str
    effect: float
    noise: float

    @property
    def visibility(self) -> str:
        """healthy; or a fault that changes nothing (invisible), less than precision does (faint), or more (visible).

        unsound: there is no fault, but precision alone does harm, so that nobody should call the pair healthy.
        If all was quantized again, two healthy candidates differ by about 1.4 times their noise already.
        """
        if not self.codes:
            return "unsound" if max(self.noise, self.effect) > _UNSOUND else "healthy"
        if self.effect < 1e-7:
            return "invisible"
        anew = self.spec.stage == "before" or self.spec.kind in fault_calibration.WHOLE
        share = 2.0 if anew or self.noise > _UNSOUND else 0.5
        return "faint" if self.effect < max(1e-4, share * self.noise) else "visible"


def kinds(form: str, stage: str) -> Mapping[str, Fault]:
    """The faults that are made by changing a file of this form."""
    found: dict[str, Fault] = dict(fault_weights.BOTH)
    if form in FLOATS or form == "tf_float16":
        found.update(fault_weights.HALF_BITS if "16" in form else fault_weights.FLOAT_BITS)
    elif stage == "after":
        found.update({**fault_weights.INTEGER_BITS, **fault_parameters.WEIGHTS_ONLY})
    if stage == "after" and form in FULL_INTEGER:
        found.update(fault_parameters.STATIC)
    found.update(fault_ops.BOTH)
    if form == "float32" or stage == "before":
        found.update(fault_ops.FLOAT_ONLY)
    return found


def plan(name: str, *, seeds: int = 1) -> Iterator[Spec]:
    """All cases of an architecture, in a fixed order. Builds it if needed."""
    forms = architecture(name).forms
    for clean in fault_clean.kinds(forms):
        yield Spec(name, clean.form, clean.name, "clean")
    for seed in range(seeds):
        for form, stage in (
            ("float32", "after"), ("int8", "before"), ("int8", "after"), ("tf_int8", "after"), ("float16", "before"),
            ("dynamic_range", "before"), ("dynamic_range", "after"), ("int16x8", "before"), ("int16x8", "after"),
            ("tf_float16", "after"), ("tf_int16x8", "after"),
        ):  # fmt: skip
            if form in forms:
                yield from (Spec(name, form, kind, stage, seed) for kind in kinds(form, stage))
        yield from (Spec(name, form, kind, "crossed", seed) for form in ("float32", "int8") for kind in _CROSSED)
        for form, kind in fault_calibration.kinds(forms):
            yield Spec(name, form, kind, "calibration", seed)


def make(name: str, folder: Path, root: Path | None = None) -> Case | None:
    """Writes the case into `folder` (empty); None where the architecture has nothing of the kind, or where the
    runtime refuses what the fault makes. `root` is where models are kept. Runs native code."""
    spec = Spec.parse(name)
    source = architecture(spec.arch, root)
    if spec.stage == "clean":
        return _clean(spec, source, folder)
    if spec.stage == "calibration":
        return _calibrated(spec, source, folder)
    reference = _crossed(spec, source, folder) if spec.stage == "crossed" else source.float32
    found: list[Case] = []
    for attempt in range(_ATTEMPTS):
        case = _faulty(spec, source, reference, folder / f"candidate_{attempt}.tflite", attempt)
        found += [] if case is None else [case]
        if found and found[-1].visibility == "visible":
            return found[-1]
    return found[0] if found else None


def _faulty(spec: Spec, source: Architecture, reference: Path, target: Path, attempt: int) -> Case | None:
    """The case with the fault in the place that this attempt draws."""
    start = source.forms["float32" if spec.stage == "before" else spec.form]
    file = File(start)
    hit = kinds(spec.form, "after" if spec.stage == "crossed" else spec.stage)[spec.kind](file, spec.draw(attempt))
    if hit is None:
        return None
    candidate = file.write(target)
    names = {file.name(one) for index in hit.tensors for one in file.restated(index)}
    places = _places(file, hit)
    if spec.stage == "before":
        try:
            candidate = _quantized(candidate, source, target.with_suffix(".quantized.tflite"), spec.form)
        except (RuntimeError, ValueError, KeyError):
            return None
        names, places = _carried(file, candidate, hit)
    case = Case(spec, reference, candidate, source.samples, hit.codes, frozenset(names), places, hit.what, 0, 0)
    return measured(case, source.forms[spec.form])


def _crossed(spec: Spec, source: Architecture, folder: Path) -> Path:
    """The reference written differently."""
    draw = replace(spec, kind=f"{spec.kind}-reference").draw()
    for kind in draw.permutation(fault_rewrites.STRUCTURAL):
        made = fault_clean.rewritten(str(kind), source, folder, draw)
        if made is not None:
            return made
    raise AssertionError(f"{source.name} cannot be written in any other way")


def measured(case: Case, clean: Path) -> Case | None:
    """The case with its effect against `clean`; None where the runtime refuses the candidate."""
    try:
        faulty = outputs(case.candidate, case.samples)
    except (RuntimeError, ValueError):
        return None
    # Files of a case do not last: only an architecture's own are kept in mind.
    lasting = case.reference.parent == clean.parent
    reference = (known_outputs if lasting else outputs)(case.reference, case.samples)
    healthy = (outputs if clean.parent == case.candidate.parent else known_outputs)(clean, case.samples)
    return replace(case, effect=difference(healthy, faulty), noise=difference(reference, healthy))


def _quantized(model: Path, source: Architecture, target: Path, variant: str) -> Path:
    return quantize(model, target, variant, ranges(model, samples_of(source.calibration)))


def _places(file: File, hit: Hit) -> frozenset[int]:
    """Indices of the ops that write what is accepted."""
    wanted = {one for index in hit.tensors for one in file.restated(index)}
    return frozenset(number for number, op in enumerate(file.ops) if wanted & {int(one) for one in op.outputs})


def _carried(file: File, quantized: Path, hit: Hit) -> tuple[set[str], frozenset[int]]:
    """Names and op indices of the same layers in the quantized file: the quantizer keeps the order of ops."""
    made = File(quantized)
    theirs = [op for _, op in made.layers()]
    ours = [op for _, op in file.layers()]
    if [file.kind(op) for op in ours] != [made.kind(op) for op in theirs]:
        raise AssertionError(f"{quantized} has other ops than the model that it was made of")
    tensors = {
        int(other.outputs[0]) for op, other in zip(ours, theirs, strict=True) if int(op.outputs[0]) in hit.tensors
    }
    there = Hit(hit.codes, frozenset(tensors), hit.what)
    names = {made.name(one) for index in tensors for one in made.restated(index)}
    return names, _places(made, there)


def _calibrated(spec: Spec, source: Architecture, folder: Path) -> Case | None:
    made = fault_calibration.make(spec.kind, spec.form, source, folder, spec.draw())
    if made is None:
        return None
    layers = made.layers
    file = File(made.candidate)
    places = frozenset(
        number for number, op in enumerate(file.ops) if layers & {file.name(int(one)) for one in op.outputs}
    )
    case = Case(spec, made.reference, made.candidate, source.samples, made.codes, layers, places, made.what, 0, 0)
    return measured(case, made.clean)


def _clean(spec: Spec, source: Architecture, folder: Path) -> Case | None:
    """A pair without a fault."""
    made = fault_clean.make(spec.kind, spec.form, source, folder, spec.draw())
    if made is None:
        return None
    nothing: frozenset[Any] = frozenset()
    case = Case(spec, made.reference, made.candidate, source.samples, (), nothing, nothing, spec.kind, 0.0, 0.0)
    return measured(case, source.forms[spec.form])
