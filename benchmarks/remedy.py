"""How long a search for a remedy takes, and whether the set of layers that it keeps is the smallest one.

    python benchmarks/remedy.py [--json] [--only speed|size]

"speed": the digits CNN (11 ops; TensorFlow trains it once) quantized with int4 weights, which costs accuracy.
"size": a dense network with damage in one or more places. The search is compared with all sets of layers, smallest
first.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import damaged
from support.models import digits_model
from windtunnel.diagnosis.quantize.make_variant import quantize
from windtunnel.diagnosis.quantize.variants import Calibration
from windtunnel.diagnosis.remedy import find_remedy
from windtunnel.diagnosis.remedy.candidate_builder import CandidateBuilder, Models
from windtunnel.diagnosis.remedy.measure.model_timing import ThisMachine
from windtunnel.diagnosis.remedy.measure.sample_parts import make_parts
from windtunnel.diagnosis.remedy.search.candidates import passes
from windtunnel.diagnosis.remedy.search.recipes import Scheme, quantized_units, rules_of, units_of
from windtunnel.diagnosis.remedy.search.whole_model_options import keeping, made_again
from windtunnel.isolation import ChildPool
from windtunnel.plan import Gates, VariantSpec
from windtunnel.tflite import read_model

INT8 = Scheme("static", 8, 8)
GATES = Gates(accuracy_drop=0.02)


def two_dead_channels() -> damaged.Network:
    """Damage in the second and in the fourth layer."""
    net = damaged.huge_weights_for_a_dead_channel(1)
    net.weights[2][3], net.biases[2][3] = 0.0, -1.0
    net.weights[3][:, 3] = 3000.0
    return net


def dead_and_outlier() -> damaged.Network:
    """Huge weights for a dead channel in the fourth layer, an outlier activation between second and third."""
    net = damaged.outlier_activation()
    net.weights[2][3], net.biases[2][3] = 0.0, -1.0
    net.weights[3][:, 3] = 3000.0
    return net


CASES: dict[str, Callable[[], damaged.Network]] = {
    "one layer's weights": damaged.huge_weights_for_a_dead_channel,
    "two layers' weights": two_dead_channels,
    "an activation": damaged.outlier_activation,
    "an activation and a layer's weights": dead_and_outlier,
}


async def no_ranking(calibration: Path) -> Sequence[tuple[str, float]]:
    """The hardest case for the search: nothing is known."""
    return []


async def speed(pool: ChildPool, folder: Path) -> list[dict[str, Any]]:
    """Builds and seconds of a whole search and its proof."""
    digits = digits_model()
    rows = []
    for name, scheme in (("dynamic int4", Scheme("dynamic", 4)), ("static int4x8", Scheme("static", 4, 8))):
        place = folder / name.replace(" ", "_")
        place.mkdir()
        spec = VariantSpec("variant", rules_of(scheme))
        made = await quantize(digits.float32, spec, place, pool, calibration=Calibration(digits.calibration))
        found = await find_remedy(
            digits.float32,
            made.model,
            digits.samples,
            place / "work",
            pool,
            gates=Gates(accuracy_drop=0.01),
            rank=no_ranking,
        )
        before, after = found.proof.variant, found.proof.remedy
        rows.append(
            {
                "variant": name,
                "verdict": found.verdict,
                "what": None if found.choice is None else found.choice.candidate.what,
                "builds": found.builds,
                "seconds": found.seconds,
                "drop_before": before.figures.drop,
                "drop_after": None if after is None else after.figures.drop,
            }
        )
    return rows


async def size(pool: ChildPool, folder: Path) -> list[dict[str, Any]]:
    """Layers kept by the search against the smallest set there is."""
    rows = []
    for number, (name, make) in enumerate(CASES.items()):
        place = folder / f"case{number}"
        place.mkdir()
        model = make().write(place / "float32.tflite")
        np.savez(place / "c.npz", x=damaged.arrays()[0][:100])
        made = await quantize(model, VariantSpec("int8"), place, pool, calibration=Calibration(place / "c.npz"))
        given = damaged.samples(place / "samples.npz")
        found = await find_remedy(model, made.model, given, place / "work", pool, gates=GATES, rank=no_ranking)
        kept = 0 if found.choice is None else len(found.choice.candidate.kept)
        started = time.perf_counter()
        optimum, builds = await exhaustive(pool, Models(model, made.model), given, place / "all")
        rows.append(
            {
                "damage": name,
                "kept": kept,
                "smallest": optimum,
                "builds": found.builds,
                "seconds": found.seconds,
                "exhaustive_builds": builds,
                "exhaustive_seconds": time.perf_counter() - started,
            }
        )
    return rows


async def exhaustive(pool: ChildPool, models: Models, samples: Path, folder: Path) -> tuple[int | None, int]:
    """The size of the smallest set of layers that meets the gate, and how many were built to know it."""
    facts = read_model(models.reference)
    units = units_of(facts)
    parts = make_parts(facts, samples, None, folder / "samples")
    builder = CandidateBuilder(models, parts, units, folder, pool, ThisMachine(pool))
    base = next(iter(made_again(INT8)))
    states = quantized_units(read_model(models.variant))
    quantized = [unit for unit in units if states.get(unit.key, "float") != "float"]
    for count in range(1, len(quantized)):
        for members in itertools.combinations(quantized, count):
            if passes(GATES, await builder.attempt(keeping(base, members, "float", INT8))):
                return count, builder.builds
    return None, builder.builds


async def measure(only: str | None) -> dict[str, list[dict[str, Any]]]:
    """Both parts, or one of them."""
    preload = ("windtunnel.diagnosis.quantize.litert_quantizer", "windtunnel.diagnosis.remedy.measure.measure_models")
    parts = {"speed": speed, "size": size}
    with tempfile.TemporaryDirectory() as name:
        async with ChildPool(preload=preload, timeout_s=600, memory_mb=8000) as pool:
            found = {}
            for part, run in parts.items():
                if only in (None, part):
                    place = Path(name, part)
                    place.mkdir()
                    found[part] = await run(pool, place)
            return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--only", choices=("speed", "size"))
    arguments = parser.parse_args()
    found = asyncio.run(measure(arguments.only))
    if arguments.json:
        print(json.dumps({"benchmark": "remedy", **found}))
        return
    for rows in found.values():
        print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
        for row in rows:
            cells = (f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values())
            print("| " + " | ".join(cells) + " |")
        print()


if __name__ == "__main__":
    main()
