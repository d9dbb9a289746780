"""Numbers that judgments depend on are in the room of thresholds, and say where they come from."""

from __future__ import annotations

import ast
from pathlib import Path

from thresholds_table import table

import windtunnel.diagnosis
from windtunnel.diagnosis.thresholds.threshold import threshold_modules, thresholds_of

ROOT = Path(windtunnel.diagnosis.__path__[0])
PAGE = Path(__file__).parents[3] / "docs" / "thresholds.md"
# Numbers that decide nothing: sizes of buffers, formats, layouts of ops, tables of mathematics, seeds, texts.
STRUCTURE = {
    "comparison/survive_crashes.py": {"_LIMIT_S"},
    "comparison/archive_members.py": {"_MOST", "_MOST_MODEL", "_MOST_MEMBERS", "_MOST_PACKED"},
    "comparison/run_archive.py": {"STORED_MODEL_BYTES"},
    "execution/histograms.py": {"BINS"},
    "execution/match_by_values.py": {"_HELD"},
    "execution/run_samples.py": {"_AHEAD_BYTES"},
    "findings/kinds/model_ends.py": {"_OUTPUTS_SHOWN"},
    "findings/kinds/phrases.py": {"MOST_CHANNELS"},
    "findings/kinds/reading.py": {"_LONGEST"},
    "findings/kinds/scales.py": {"_PARTS_SHOWN"},
    "graph/clipping_ops.py": {"BOUNDS"},
    "graph/constants.py": {"WEIGHTED", "_HELD"},
    "graph/custom_options.py": {"_MOST_BYTES"},
    "graph/scale_overflow.py": {"_SHIFTS"},
    "kernels/kernel_matrix.py": {"_DISK_BYTES"},
    "kernels/output_checks.py": {"PRECISIONS"},
    "latency/native_profiler.py": {
        "_CPU_ACCELERATOR",
        "_WRITE",
        "_MAX_RANK",
        "_OPERATOR, _DELEGATE_OPERATOR, _DELEGATE_PROFILED",
        "_STRIDES",
        "_UNTOUCHED",
    },
    "layer_log/codec.py": {
        "SKETCH",
        "SEED",
        "_STEP, _OFFSETS",
        "_EXACT, _PLAIN, _RESIDUAL",
        "_LEVEL",
        "_HALF_PLACE, _LEAST_PLACE, _HALF_PLACE_OF_MEAN",
    },
    "layer_log/log_file.py": {"_MOST_HEADER"},
    "minimal/case_bundle.py": {"_EPOCH"},
    "numerics/block_kernel.py": {"KINDS", "_CLOSELY, _REFERENCE_ENDS, _CANDIDATE_ENDS"},
    "numerics/block_sums.py": {"BLOCK", "_ROW", "_SAFE", "_SAFE_SQUARES"},
    "numerics/metrics.py": {"METRICS", "_COUNT", "_NOT_NEGATIVE"},
    "numerics/nrmse_interval.py": {"_T_975"},
    "numerics/isolated_sums.py": {"_BLOCK"},
    "quantize/litert_quantizer.py": {"_CHUNK"},
    "quantize/recipe_rules.py": {"_SHOWN", "_COUNT", "_TENSOR"},
    "remedy/search/candidates.py": {"CLOSEST"},
    "remedy/search/recipes.py": {"_MAX_SCOPE"},
    "remedy/measure/split_samples.py": {"SEED"},
    "static/quantization_ranges.py": {"_CENTER"},
    "static/weight_differences.py": {"_AXES"},
    # Of apps: what a search tries, units, numbers of fields, and how much is shown.
    "app_diagnosis/app_assertions.py": {"_LONGEST"},
    "app_diagnosis/detection_slots.py": {"_SCALES"},
    "app_diagnosis/sample_views.py": {"_FRAMES"},
    "edge_logs/perfetto_trace.py": {
        "_BEGIN, _END, _COUNT",
        "_CLOCK, _CLOCK_ID, _CLOCK_TIME",
        "_INCREMENTAL_STATE_CLEARED",
        "_PACKET, _CLOCKS, _TIMESTAMP, _SEQUENCE, _EVENT, _FLAGS, _TRACK",
        "_PID, _PROCESS_NAME, _UNIT, _UNIT_NAME",
        "_REALTIME, _BOOTTIME",
        "_SEQUENCE_ID",
        "_TEXT_VALUE, _INT_VALUE, _ANNOTATION_NAME",
        "_TYPE, _TRACK_UUID, _CATEGORY, _EVENT_NAME, _DOUBLE_VALUE, _ANNOTATION",
        "_UNIT_BYTES",
        "_UUID, _NAME, _PROCESS, _PARENT, _COUNTER",
    },
    "edge_logs/protobuf_fields.py": {"_FIXED_64", "_LENGTH", "_VARINT"},
    "edge_logs/summary.py": {"_MOST_SHAPES"},
    "findings/kinds/apps.py": {"_SHOWN"},
    "playback/audio/audio_endings.py": {"_TINY"},
    "playback/audio/explain_audio.py": {"_EXPONENTS", "_NOISE"},
    "playback/audio/spectral_ways.py": {"_FLOORS", "_HIGHS", "_LOWS", "_SCALES", "_SECONDS"},
    "playback/audio/wave_ways.py": {"RATES", "_BITS", "_GAINS"},
    "playback/color_maps.py": {"_GAMMAS"},
    "playback/framing.py": {"ORIENTATIONS"},
    "playback/image_hypotheses.py": {"KNOWN_RANGES", "ORDERS", "STRAIGHT"},
    "playback/image_inputs.py": {"_PROBES"},
    "playback/resampling.py": {"_DENSE", "_LIST"},
    "playback/roundings.py": {"COARSE", "FINE", "_FORMATS"},
    "recording/build_recording.py": {"_SHOWN"},
    "recording/decode_frames.py": {"_LARGEST_RANK", "_SHOWN"},
    "recording/log_file.py": {"_SHOWN", "_TOPICS"},
    "recording/npz_extras.py": {"_SHOWN"},
    "recording/npz_raw.py": {"_SHOWN"},
    "recording/read_npz.py": {"_SHOWN"},
    "recording/read_sessions.py": {"_SHOWN"},
    "recording/recorded_figures.py": {"_LONGEST_PROJECTION", "_QUANTILES"},
    "recording/split_batches.py": {"_RANKS"},
    "recording/write_npz.py": {"_FILL"},
}
# Numbers inside of its functions are coefficients of formulas.
FORMULAS = "numerics/metrics.py"
# The same inside of functions.
FLOATS = {
    "execution/checkpoint.py": {5.0},
    "execution/histograms.py": {1e-6, 1e-30},
    "kernels/kernel_jobs.py": {1800.0},
    "kernels/kernel_matrix.py": {1800.0},
    "latency/expected_times.py": {1e-9, 1e-12},
    "latency/op_profile.py": {1e-3, 1e3},
    "latency/ops_of_log_rows.py": {1e3},
    "layer_log/compare_logs.py": {3.0},
    "minimal/find_smallest.py": {0.9, 1e30},
    "quantize/litert_quantizer.py": {0.8, 0.9},
    "remedy/search/candidates.py": {1e6},
    "remedy/find_remedy.py": {900.0},
    "remedy/measure/measure_models.py": {100.0, 1e3},
    "static/effective_weights.py": {1e-30},
    "static/quantization_ranges.py": {12.0},
    "static/weight_differences.py": {1e-12},
    # Of apps: what a search tries, steps of a descent, guards against a division by zero, units.
    "app_diagnosis/detection_slots.py": {1e-09, 0.01, 0.05, 0.1, 0.99},
    "edge_logs/frame_rows.py": {1000000.0},
    "edge_logs/frames_document.py": {1000000.0},
    "edge_logs/summary.py": {1000000.0, 1000000000.0},
    "playback/align_images.py": {1e-12, 0.0005, 0.002, 0.004, 0.08, 0.2, 0.995},
    "playback/audio/audio_endings.py": {1e-09},
    "playback/audio/explain_audio.py": {1e-20, 1e-12, 1e-09, 1000000.0},
    "playback/audio/spectral_ways.py": {
        1e-30,
        1e-10,
        0.25,
        6.4,
        10.0,
        60.0,
        80.0,
        8000.0,
        16000.0,
        22050.0,
        44100.0,
        48000.0,
    },
    "playback/audio/wave_ways.py": {1e-09, 0.95, 0.97, 32767.0, 32768.0},
    "playback/channel_fits.py": {1e-09},
    "playback/color_maps.py": {0.001, 0.0031308, 0.04045, 0.05, 0.055, 1.055, 2.4, 12.92},
    "playback/framing.py": {0.0001, 0.6, 0.7, 0.75, 0.8, 0.85, 0.875, 0.9, 0.95, 114.0, 127.5, 255.0},
    "playback/image_words.py": {1e-12, 1e-09, 1e-06, 0.001},
    "playback/resampling.py": {1e-09, 1e-06, 0.46, 0.54},
    "playback/roundings.py": {10.0},
    "recording/read_npz.py": {0.75},
    "recording/recorded_figures.py": {1000000.0},
}


def numbers_of(path: Path) -> list[str]:
    """Names of the module-level constants of a file whose value holds a number."""
    return [
        ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target).strip("()")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _holds_number(node.value)
    ]


def _holds_number(value: ast.expr) -> bool:
    return any(isinstance(part, ast.Constant) and type(part.value) in (int, float) for part in ast.walk(value))


def floats_of(path: Path) -> set[float]:
    """Float literals inside the functions and classes of a file, but for 0 and the coefficients of formulas."""
    blocks = [
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    found = {
        part.value
        for block in blocks
        for part in ast.walk(block)
        if isinstance(part, ast.Constant) and type(part.value) is float
    }
    return found - {0.0, 0.5, 1.0, 2.0, 4.0}


def test_no_other_module_defines_a_threshold() -> None:
    found = {
        name: numbers
        for path in ROOT.rglob("*.py")
        if (name := path.relative_to(ROOT).as_posix()).split("/")[0] != "thresholds"
        and (numbers := set(numbers_of(path)) - STRUCTURE.get(name, set()))
    }
    assert found == {}, "define these in windtunnel.diagnosis.thresholds, with unit, meaning and basis"


def test_the_list_of_structure_is_current() -> None:
    assert {name: set(numbers_of(ROOT / name)) & names for name, names in STRUCTURE.items()} == STRUCTURE


def test_no_function_holds_a_threshold() -> None:
    found = {path.relative_to(ROOT).as_posix(): floats_of(path) for path in ROOT.rglob("*.py")}
    assert found.pop(FORMULAS)
    assert {name: floats for name, floats in found.items() if floats} == FLOATS, "see above"


def test_a_number_outside_is_found() -> None:
    assert len(numbers_of(ROOT / "thresholds" / "rule_thresholds.py")) >= 20


def test_every_constant_of_the_room_says_what_it_is() -> None:
    for module in threshold_modules():
        assert module.__file__ is not None
        noted = {name: note for name, _, note in thresholds_of(module)}
        assigned = [
            node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else "not annotated"
            for node in ast.parse(Path(module.__file__).read_text()).body
            if isinstance(node, ast.Assign | ast.AnnAssign)
        ]
        assert assigned == list(noted)
        for note in noted.values():
            assert note.unit and note.meaning.endswith(".") and note.record.endswith(".")


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == table(), "run: python tools/thresholds_table.py > docs/thresholds.md"
