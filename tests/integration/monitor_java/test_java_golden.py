"""What the Java monitor writes is the golden recording; what the other monitors wrote, the Java reader reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mcap.reader import make_reader

from support.edge_golden import FACTS, GOLDEN, SENSORS, Recorded, differences, expected_frame
from support.java_monitor import ROOT, JavaMonitor, array

pytestmark = pytest.mark.heavy
GOLDEN_FILES = sorted((ROOT / "tests/data/edge_golden").glob("*.mcap"))


def script(arrays: Path) -> list[str]:
    lines = [f"sensor\t{name}\t" + "\t".join(map(str, values)) for name, values in SENSORS]
    for golden in GOLDEN:
        lines += [f"level\t{golden.level}", "frame"]
        for call in golden.calls:
            lines.append(_call(call, arrays))
        lines += [f"stage\t{stage}" for stage in golden.stages]
        lines += [f"note\t{key}\t{value}" for key, value in golden.notes.items()]
        if golden.label is not None:
            lines.append(f"label\t{golden.label}")
        lines.append("close")
    return lines


def _call(call: Recorded, arrays: Path) -> str:
    form = "number" if call.values.element != "text" and not call.values.shape else "array"
    if call.role == "function":
        assert call.result is not None
        given, result = array(arrays, call.values.make(), "nested"), array(arrays, call.result.make(), "nested")
        return f"call\t{call.name}\t{given}\t{result}"
    line = f"{call.role}\t{call.name}\t{array(arrays, call.values.make(), form)}"
    if call.scale:
        line += f"\tquantized\t{call.scale},{call.zero_point}"
    return line + (f"\top\t{call.op_index}" if call.op_index is not None else "")


def record(java: JavaMonitor, folder: Path, arrays: Path) -> Path:
    java.run(folder, script(arrays), raw="true", **FACTS)
    (file,) = folder.glob("*.mcap")
    return file


def test_java_writes_the_golden_recording(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    file = record(java, tmp_path / "log", arrays)
    assert differences(file) == []


def test_the_committed_file_is_the_golden_recording() -> None:
    assert differences(ROOT / "tests/data/edge_golden/java.mcap") == []


def test_the_stock_library_seeks_and_checks_all_crcs(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    file = record(java, tmp_path / "log", arrays)
    with file.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        topics = [channel.topic for _, channel, _ in reader.iter_messages()]
    assert summary is not None and summary.statistics is not None
    assert topics.count("/frame") == 3 and topics.count("/sensor") == 3
    assert summary.statistics.message_count == 6
    assert summary.statistics.channel_message_counts == {1: 3, 2: 3}
    assert summary.statistics.chunk_count == len(summary.chunk_indexes)
    assert summary.statistics.metadata_count == len(summary.metadata_indexes) == 2
    assert {schema.name for schema in summary.schemas.values()} == {
        "windtunnel.v1.EdgeFrame",
        "windtunnel.v1.SensorReading",
    }
    with file.open("rb") as stream:
        assert {data.name for data in make_reader(stream).iter_metadata()} == {"windtunnel.device", "windtunnel.end"}


@pytest.mark.parametrize("path", GOLDEN_FILES, ids=lambda path: path.stem)
def test_the_java_reader_reads_the_golden_file_of(path: Path, java: JavaMonitor) -> None:
    (lines,) = java.dump("log", [path])
    assert not [line for line in lines if line[0] == "problem"]
    facts = {line[1]: line[2] for line in lines if line[0] == "device"}
    assert {name: facts.get(name) for name in FACTS} == FACTS
    assert [(line[1], json.loads(line[2])) for line in lines if line[0] == "sensor"] == list(SENSORS)
    assert [int(line[1]) for line in lines if line[0] == "frame"] == [0, 1, 3]
    wanted = [tensor for golden in GOLDEN if golden.level != "off" for tensor in expected_frame(golden).tensors]
    tensors = [line for line in lines if line[0] == "tensor"]
    assert len(tensors) == len(wanted)
    for line, tensor in zip(tensors, wanted, strict=True):
        assert int(line[1]) == tensor.role and line[2] == tensor.name and int(line[3]) == tensor.element
        assert json.loads(line[4]) == list(tensor.shape)
        assert bytes.fromhex(line[5]) == tensor.data
        assert (float(line[6]), int(line[7])) == (tensor.scale, tensor.zero_point)
        assert int(line[8]) + 1 == tensor.op_index_plus_one
        assert (line[10] != "") == tensor.HasField("statistics")
        if tensor.HasField("statistics"):
            count, non_finite = line[10].split(" ")[:2]
            assert (int(count), int(non_finite)) == (tensor.statistics.count, tensor.statistics.non_finite)
