"""Folders and archives that farms leave, and what is refused."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import jsonschema
import pytest

from windtunnel import schemas
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.log_parser import read_results

LOGCAT = """\
11-03 08:00:01.000  6100  6100 I tflite  : Log parameter values verbosely: [0]
11-03 08:00:01.000  6100  6100 I tflite  : Num threads: [4]
11-03 08:00:01.000  6100  6100 I tflite  : Graph: [/data/local/tmp/graph]
11-03 08:00:01.000  6100  6100 I tflite  : Use xnnpack: [1]
11-03 08:00:01.010  1600  1700 I ActivityManager: Displayed something
11-03 08:00:01.050  6100  6100 I tflite  : Initialized session in 40.5ms.
11-03 08:00:02.700  6100  6100 I tflite  : Inference timings in us: Init: 40500, First inference: 7000, """ + (
    "Warmup (avg): 5600.5, Inference (avg): 5550.25\n"
)
REPORT = """\
{
  "name": "TFLite benchmark",
  "benchmark config": "xnnpack_4threads",
  "status": "OK",
  "average time in us": "init: 40500, warmup: 5600.5, inference: 5550.25",
  "overall memory usage": "max resident set size/physical footprint = 12.5 MB, total non-mmapped heap size = 9 MB"
}
"""
HEADER = (
    "config_key,model_size,init_time,warmup_avg,warmup_min,warmup_max,warmup_stddev,inference_avg,inference_min,"
    "inference_max,inference_stddev,init_max_rss,init_total_alloc,init_in_use_alloc,overall_max_rss,"
    "overall_total_alloc,overall_in_use_alloc\n"
)
CSV = HEADER + "xnnpack_4threads,3.5,40500,5600.5,5400,7000,150,5550.25,5390,6100,90,2.5,1,1,12.5,9,8.25\n"
DELEGATE_ONLY = "11-03 07:00:00.000  900  900 I tflite  : Created TensorFlow Lite XNNPACK delegate for CPU.\n"
TEST_LAB = {
    "shiba-34-en-portrait/logcat": LOGCAT,
    "shiba-34-en-portrait/game_loop_results/results_scenario_5.json": REPORT,
    "shiba-34-en-portrait/artifacts/sdcard/benchmark_output/benchmark_result_xnnpack_4threads": CSV,
    "shiba-34-en-portrait/video.mp4": "\0\0\0\x18ftypmp42",
    "shiba-34-en-portrait/artifacts/other.txt": DELEGATE_ONLY,
}


def folder_of(files: dict[str, str], root: Path) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def zip_of(files: dict[str, str], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def tar_of(files: dict[str, str], path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "zip in a folder"])
def test_files_that_speak_of_one_run_give_one_run(kind: str, tmp_path: Path) -> None:
    if kind == "zip in a folder":
        (tmp_path / "all").mkdir()
        zip_of(TEST_LAB, tmp_path / "all" / "results.zip")
        path = tmp_path / "all"
    else:
        path = {
            "folder": lambda: folder_of(TEST_LAB, tmp_path / "results"),
            "zip": lambda: zip_of(TEST_LAB, tmp_path / "results.zip"),
            "tar": lambda: tar_of(TEST_LAB, tmp_path / "results.tar.gz"),
        }[kind]()
    document = read_results(path).to_json()
    jsonschema.validate(document, schemas.load("log"))
    assert len(document["runs"]) == 1
    run = document["runs"][0]
    assert run["file"].endswith("shiba-34-en-portrait/logcat")
    assert (run["model"], run["threads"], run["accelerator_requested"]) == ("/data/local/tmp/graph", 4, "xnnpack")
    assert (run["init_us"], run["first_inference_us"], run["model_size_mb"]) == (40500, 7000, 3.5)
    assert (run["inference"]["avg_us"], run["inference"]["min_us"], run["warmup"]["std_us"]) == (5550.25, 5390, 150)
    assert (run["memory"]["init_mb"], run["memory"]["overall_mb"]) == (2.5, 12.5)
    assert document["unrecognized_lines"] == 1


def test_a_report_of_a_failure_is_of_the_run_that_failed(tmp_path: Path) -> None:
    log = (
        "11-03 08:00:01.000  6100  6100 I tflite  : Graph: [/data/local/tmp/graph]\n"
        "11-03 08:00:01.000  6100  6100 I tflite  : Use Hexagon: [1]\n"
        "11-03 08:00:01.100  6100  6100 E tflite  : Failed to apply Hexagon delegate.\n"
    )
    report = '{\n  "name": "TFLite benchmark",\n  "benchmark config": "dsp_hexagon",\n  "status": "TFLite error"\n}\n'
    files = {"a/game_loop_results/results_scenario_9.json": report, "a/logcat": log}
    runs = read_results(folder_of(files, tmp_path / "results")).runs
    assert [(one.file, one.run.error and one.run.error.kind) for one in runs] == [("a/logcat", "delegate_failed")]
    alone = read_results(folder_of({"r.json": report}, tmp_path / "alone")).runs
    assert [one.run.accelerator_requested for one in alone] == ["hexagon"]


def test_a_log_alone_has_no_file_field(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(LOGCAT)
    results = read_results(tmp_path / "log.txt")
    assert "file" not in results.to_json()["runs"][0]


def test_customer_artifacts_of_aws(tmp_path: Path) -> None:
    host = "Host_Machine_Files/$DEVICEFARM_LOG_DIR"
    files = {f"{host}/benchmark.txt": LOGCAT, f"{host}/other_model.txt": LOGCAT.replace("5550.25", "9.5")}
    results = read_results(zip_of(files, tmp_path / "Customer_Artifacts.zip"))
    assert [(one.file, one.run.inference.avg_us) for one in results.runs] == [
        (f"{host}/benchmark.txt", 5550.25),
        (f"{host}/other_model.txt", 9.5),
    ]


def test_lines_that_no_rule_knew_say_their_file_and_number(tmp_path: Path) -> None:
    lines: list[tuple[str, int, str]] = []

    def take(file: str, number: int, text: str) -> bool:
        lines.append((file, number, text))
        return True

    results = read_results(zip_of(TEST_LAB, tmp_path / "results.zip"), take)
    assert len(lines) == results.unrecognized_lines == 1
    file, number, text = lines[0]
    assert (file, number) == ("shiba-34-en-portrait/logcat", 5)
    assert "Displayed something" in text


def test_only_as_many_lines_as_wanted(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(LOGCAT + "nobody knows this\n" * 1000)
    numbers: list[int] = []

    def take(file: str, number: int, text: str) -> bool:
        numbers.append(number)
        return len(numbers) < 3

    results = read_results(tmp_path / "log.txt", take)
    assert numbers[:3] == [5, 8, 9]
    assert results.unrecognized_lines == 1001


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "a/../../evil.txt", "C:/evil.txt"])
def test_a_name_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="could leave"):
        read_results(zip_of({name: LOGCAT}, tmp_path / "evil.zip"))
    assert not (tmp_path.parent / "evil.txt").exists()


def test_a_link_is_not_followed_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        link = tarfile.TarInfo("log.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(InvalidInput, match="leads out"):
        read_results(tmp_path / "evil.tar")


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windtunnel.log_parser.use_cases.read_results.MAX_UNPACKED_BYTES", 1_000_000)
    bomb = zip_of({"log.txt": "\n" * 2_000_000}, tmp_path / "bomb.zip")
    assert bomb.stat().st_size < 20_000
    with pytest.raises(InvalidInput, match="unpacks to more than"):
        read_results(bomb)


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    whole = zip_of(TEST_LAB, tmp_path / "results.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match=r"cut\.zip is not a whole archive"):
        read_results(tmp_path / "cut.zip")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no benchmark log"):
        read_results(tmp_path / "nothing.txt")
