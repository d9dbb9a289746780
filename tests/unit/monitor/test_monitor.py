"""The monitor: what it records at each level, what it leaves out, and that it never throws into the app."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.recorded_frames import frames, items, metadata, tensors
from windtunnel.monitor import Monitor
from windtunnel.monitor.mcap.reader import Skipped, read
from windtunnel.monitor.mcap.records import Message
from windtunnel.v1 import edge_pb2

X = np.arange(24, dtype=np.float32).reshape(1, 2, 4, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a" / "log"


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    deadline = threading.Event()
    for _ in range(100):
        if not [thread for thread in threading.enumerate() if thread.name == "windtunnel-monitor"]:
            return
        deadline.wait(0.02)
    raise AssertionError("a writing thread is left")


def test_five_lines(folder: Path) -> None:
    monitor = Monitor(folder, "io", app="camera")
    with monitor.frame(label=2) as frame:
        frame.input(X)
        frame.output(X[0, 0])
    assert monitor.close()
    (recorded,) = frames(folder)
    assert tensors(recorded) == [("input", ""), ("output", "")]
    assert recorded.tensors[0].data == X.tobytes()
    assert list(recorded.tensors[0].shape) == [1, 2, 4, 3]
    assert recorded.label == 2
    assert recorded.level == edge_pb2.EDGE_LEVEL_IO
    assert not recorded.tensors[0].HasField("statistics")
    device = metadata(folder, "windtunnel.device")
    assert device["app"] == "camera"
    assert device["schema"] == "windtunnel.edge/1"
    assert device["session"] == monitor.session
    assert "app_version" not in device
    assert metadata(folder, "windtunnel.end")["frames_recorded"] == "1"


def test_levels_change_at_run_time(folder: Path) -> None:
    with Monitor(folder, "off") as monitor:
        for level in ("off", "statistics", "io", "layers", "off", "io"):
            monitor.level = level
            assert monitor.level == level
            with monitor.frame() as frame:
                frame.input(X)
                frame.layer("conv", X, 0.5, 3, 7)
        monitor.level = "loud"
        assert monitor.level == "io"
    assert monitor.faults.counts == {"level": 1}
    recorded = frames(folder)
    assert [frame.number for frame in recorded] == [1, 2, 3, 5]
    with_values = [[bool(tensor.data) for tensor in frame.tensors] for frame in recorded]
    assert with_values == [[False, False], [True, False], [True, True], [True, False]]
    layer = recorded[2].tensors[1]
    assert (layer.scale, layer.zero_point, layer.op_index_plus_one) == (0.5, 3, 8)
    assert recorded[0].tensors[1].statistics.count == 24


def test_every_nth_frame(folder: Path) -> None:
    with Monitor(folder, "io", every=3) as monitor:
        for _ in range(10):
            with monitor.frame() as frame:
                frame.input(X)
    assert [frame.number for frame in frames(folder)] == [0, 3, 6, 9]


def test_by_time(folder: Path) -> None:
    with Monitor(folder, "io", every_s=3600) as monitor:
        for _ in range(5):
            with monitor.frame() as frame:
                frame.input(X)
    assert [frame.number for frame in frames(folder)] == [0]


def test_raw_only_when_switched_on(folder: Path) -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    for raw, role in ((False, []), (True, [("raw", "")])):
        with Monitor(folder / str(raw), "io", raw=raw) as monitor, monitor.frame(raw=image, sample_rate_hz=16000):
            pass
        (frame,) = frames(folder / str(raw))
        assert tensors(frame) == role
        assert frame.sample_rate_hz == 16000


def test_functions_stages_notes_results(folder: Path) -> None:
    monitor = Monitor(folder, "io")

    @monitor.function
    def preprocess(image: Any, scale: float = 1.0, *, mode: str = "fast") -> Any:
        """Scales."""
        return image * scale

    def boxes(_: Any) -> dict[str, Any]:
        return {"boxes": np.ones((2, 4)), "names": ["cat", "dog"], "left": object()}

    assert preprocess.__doc__ == "Scales."
    np.testing.assert_array_equal(preprocess(X), X)  # outside a frame: only called
    with monitor.frame() as frame:
        x = preprocess(X, 2.0, mode="slow")
        with frame.stage("resize"), frame.stage("inner"):
            pass
        with frame.inference():
            pass
        assert frame.call("decode", boxes, x)["names"] == ["cat", "dog"]
        frame.postprocessed("classes", [3, 1])
        frame.postprocessed("caption", "ein Öl")
        frame.note(lens="wide", iso=100)
        frame.layer_time("conv", 0.25, "CONV_2D")
    monitor.close()
    (recorded,) = frames(folder)
    assert tensors(recorded) == [
        ("function_input", "preprocess[0]"),
        ("function_input", "preprocess[1]"),
        ("function_input", "preprocess[mode]"),
        ("function_output", "preprocess"),
        ("function_input", "decode"),
        ("function_output", "decode[boxes]"),
        ("function_output", "decode[names][0]"),
        ("function_output", "decode[names][1]"),
        ("postprocessed", "classes"),
        ("postprocessed", "caption"),
    ]
    assert recorded.tensors[3].data == (2 * X).tobytes()
    assert recorded.tensors[9].data.decode() == "ein Öl"
    assert recorded.tensors[9].element == edge_pb2.EDGE_ELEMENT_TEXT
    assert dict(recorded.values) == {"lens": "wide", "iso": "100"}
    times = [(timing.kind, timing.name, timing.op) for timing in recorded.timings]
    kinds = edge_pb2.EdgeTimingKind
    assert times == [
        (kinds.Value("EDGE_TIMING_KIND_STAGE"), "preprocess", ""),
        (kinds.Value("EDGE_TIMING_KIND_STAGE"), "inner", ""),
        (kinds.Value("EDGE_TIMING_KIND_STAGE"), "resize", ""),
        (kinds.Value("EDGE_TIMING_KIND_INFERENCE"), "", ""),
        (kinds.Value("EDGE_TIMING_KIND_STAGE"), "decode", ""),
        (kinds.Value("EDGE_TIMING_KIND_LAYER"), "conv", "CONV_2D"),
        (kinds.Value("EDGE_TIMING_KIND_FRAME"), "", ""),
    ]
    resize, inner = recorded.timings[2], recorded.timings[1]
    assert inner.begin.nanos >= resize.begin.nanos
    assert recorded.timings[5].elapsed.nanos == 250_000_000


def test_errors_of_the_app_go_on_and_are_named(folder: Path) -> None:
    def broken(_: Any) -> None:
        raise LookupError("the app's own")

    with Monitor(folder, "io") as monitor:
        with pytest.raises(LookupError, match="the app's own"), monitor.frame() as frame:
            frame.call("broken", broken, X)
        with monitor.frame() as frame:
            frame.input(X)
    first, second = frames(folder)
    assert tensors(first) == [("function_input", "broken")]
    assert first.left_out == ["frame: the app raised LookupError"]
    assert [timing.name for timing in first.timings] == ["broken", ""]
    assert not second.left_out


def test_faults_are_counted_and_logged_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with Monitor(folder, "io") as monitor:
        for _ in range(3):
            with monitor.frame(label="cat") as frame:  # type: ignore[arg-type]
                frame.input(object())
                frame.input(None)
                frame.output({"a": object()})
                frame.layer(3, X)  # type: ignore[arg-type]
                frame.note(**{"a b": object()})
                frame.output(X)
            monitor.sensor("light", ["bright"])  # type: ignore[list-item]
            monitor.sensor("light", [0.5])
    assert monitor.faults.counts["sensor"] == 3
    assert len([record for record in caplog.records if "sensor" in record.message]) == 1
    recorded = frames(folder)
    assert len(recorded) == 3
    for frame_message in recorded:
        assert ("output", "") in tensors(frame_message)
        assert dict(frame_message.values)["label"] == "cat"
        assert any("cannot be recorded" in words for words in frame_message.left_out)
    readings = [item for item in items(folder) if isinstance(item, Message) and item.channel_id == 2]
    assert len(readings) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": "loud"}, "level='loud' is unknown: use one of off, statistics, io, layers"),
        ({"level": 2}, "level=2 is unknown"),
        ({"every": 0}, "every=0: give a positive whole number"),
        ({"every": 1.5}, "every=1.5: give a positive whole number"),
        ({"every_s": -1}, "every_s=-1: give a positive number"),
        ({"memory_bytes": -1}, "memory_bytes=-1: give a positive whole number"),
        ({"file_bytes": 0}, "file_bytes=0"),
        ({"disk_bytes": "1 MB"}, "disk_bytes='1 MB'"),
        ({"flush_frames": True}, "flush_frames=True"),
        ({"flush_s": float("nan")}, "flush_s=nan"),
        ({"redact": "raw"}, "redact='raw': give a function"),
    ],
)
def test_wrong_configuration(folder: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        Monitor(folder, **options)
    assert not folder.exists()


def test_redaction(folder: Path) -> None:
    def hook(role: str, name: str, value: Any) -> Any:
        if role == "raw":
            return None
        if name == "secret":
            raise KeyError("a fault of the hook")
        if isinstance(value, str):
            return "***"
        if role == "input":
            value[:] = 0  # a copy: the app's array stays
        return value

    x = X.copy()
    with Monitor(folder, "io", raw=True, redact=hook, redacts=["raw", "input"]) as monitor:
        with monitor.frame(raw=np.ones((2, 2, 3), np.uint8)) as frame:
            frame.input(x)
            frame.output(x)
            frame.output(x, "secret")
            frame.postprocessed("caption", "a name")
        monitor.level = "statistics"
        with monitor.frame(raw=np.ones((2, 2, 3), np.uint8)) as frame:
            frame.input(x)
    np.testing.assert_array_equal(x, X)
    first, second = frames(folder)
    raw, given, output, secret, caption = first.tensors
    assert [t.redacted for t in first.tensors] == [True, True, False, True, True]
    assert (raw.data, list(raw.shape), raw.HasField("statistics")) == (b"", [2, 2, 3], False)
    assert given.data == bytes(X.nbytes)
    assert output.data == X.tobytes()
    assert (secret.data, secret.HasField("statistics")) == (b"", False)
    assert caption.data == b"***"
    assert first.left_out == ["output: the redaction hook failed"]
    assert not second.tensors[0].HasField("statistics")
    assert second.tensors[1].statistics.max == 0
    assert metadata(folder, "windtunnel.device")["redacted"] == "raw,input"


def test_memory_bound_of_one_frame(folder: Path) -> None:
    large = np.ones(300_000, np.float32)
    with Monitor(folder, "layers", memory_bytes=1_000_000) as monitor, monitor.frame() as frame:
        frame.input(X)
        frame.layer("large", large)
        frame.layer("small", X)
    (recorded,) = frames(folder)
    assert [bool(tensor.data) for tensor in recorded.tensors] == [True, False, True]
    assert recorded.tensors[1].statistics.count == 300_000
    assert recorded.left_out == ["layer: over the memory bound"]
    assert monitor.frames_lost == 0


def test_frames_lost_are_said_by_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Monitor(folder, "io", memory_bytes=1_000_000, flush_s=3600, flush_frames=10**6)
    held, go_on = threading.Event(), threading.Event()
    write = monitor._files.write

    def slow(*args: Any) -> None:
        held.set()
        go_on.wait(20)
        write(*args)

    monkeypatch.setattr(monitor._files, "write", slow)
    array = np.zeros(10_000, np.float32)
    for number in range(30):
        with monitor.frame() as frame:
            frame.input(array)
        if number == 10:
            assert held.wait(20)  # more than a quarter of the bound waits: the thread is writing, on a slow disk
    assert monitor.frames_lost > 0
    lost = monitor.frames_lost
    go_on.set()
    assert monitor.flush(20)
    with monitor.frame() as frame:
        frame.input(array)
    monitor.close()
    recorded = frames(folder)
    assert len(recorded) + lost == 31
    assert recorded[-1].frames_lost == lost
    assert recorded[-1].left_out == ["frames: over the memory bound"]
    assert monitor.backlog._reserved == 0


def test_ring_of_files(folder: Path) -> None:
    with Monitor(folder, "io", file_bytes=30_000, disk_bytes=100_000, flush_frames=1) as monitor:
        for _ in range(60):
            with monitor.frame() as frame:
                frame.input(np.zeros(1000, np.float32))
            assert monitor.flush(10)
    files = sorted(folder.glob("*.mcap"))
    assert 2 <= len(files) <= 4
    assert sum(file.stat().st_size for file in files) <= 100_000 + 10_000  # with the summary of the last one
    numbers = [frame.number for frame in frames(folder)]
    assert numbers == list(range(numbers[0], 60))
    assert monitor.frames_lost == 0
    for file in files:
        assert file.name.startswith(monitor.session)
        assert not [item for item in read(file) if isinstance(item, Skipped)]


def test_a_frame_beyond_the_disk_bound(folder: Path) -> None:
    with Monitor(folder, "io", disk_bytes=20_000) as monitor:
        for values in (10_000, 10):
            with monitor.frame() as frame:
                frame.input(np.zeros(values, np.float32))
            monitor.flush()
    (recorded,) = frames(folder)
    assert (recorded.number, recorded.frames_lost) == (1, 1)
    assert "disk_bytes=20000" in recorded.left_out[0]


def test_folder_deleted_under_it(folder: Path) -> None:
    monitor = Monitor(folder, "io")
    for number in range(3):
        with monitor.frame() as frame:
            frame.input(X)
        assert monitor.flush()
        if number == 1:
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
    monitor.close()
    (recorded,) = frames(folder)
    assert (recorded.number, recorded.frames_lost) == (2, 2)
    assert recorded.left_out == ["a file of the log was deleted"]


def test_folder_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "log"
    with Monitor(folder, "io") as monitor:
        for _ in range(3):
            with monitor.frame() as frame:
                frame.input(X)
            monitor.flush()
        assert monitor.frames_lost == 3
        (tmp_path / "file").unlink()
        with monitor.frame() as frame:
            frame.input(X)
    (recorded,) = frames(folder)
    assert (recorded.number, recorded.frames_lost) == (3, 3)
    assert len(caplog.records) == 1
    assert str(folder) in caplog.text


def test_two_monitors_in_one_folder(folder: Path) -> None:
    with Monitor(folder, "io") as one, Monitor(folder, "io") as two:
        for monitor in (one, two, one):
            with monitor.frame() as frame:
                frame.input(X)
    assert len(list(folder.glob("*.mcap"))) == 2
    assert one.session != two.session
    assert sorted(frame.number for frame in frames(folder)) == [0, 0, 1]


def test_threads(folder: Path) -> None:
    monitor = Monitor(folder, "statistics", flush_frames=7)

    @monitor.function
    def twice(x: Any) -> Any:
        return 2 * x

    def work(thread: int) -> None:
        for k in range(50):
            with monitor.frame() as frame:
                value = np.full(100 * (thread + 1), thread * 100 + k, np.float32)
                frame.input(value)
                twice(value)
                frame.note(thread=thread)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monitor.close()
    recorded = frames(folder)
    assert sorted(frame.number for frame in recorded) == list(range(300))
    assert monitor.frames_lost == 0
    for frame in recorded:
        number = int(frame.values["thread"])
        mean = frame.tensors[0].statistics.mean
        assert [t.statistics.count for t in frame.tensors] == [100 * (number + 1)] * 3
        assert mean // 100 == number
        assert [t.statistics.mean for t in frame.tensors] == [mean, mean, 2 * mean]


def test_asynchronous_tasks_have_frames_of_their_own(folder: Path) -> None:
    monitor = Monitor(folder, "io")

    @monitor.function
    async def work(x: Any) -> Any:
        await asyncio.sleep(0)
        return x

    async def request(number: int) -> None:
        with monitor.frame() as frame:
            frame.note(request=number)
            await asyncio.sleep(0)
            await work(np.array(number))

    async def requests() -> None:
        await asyncio.gather(*(request(number) for number in range(5)))

    asyncio.run(requests())
    monitor.close()
    assert len(frames(folder)) == 5
    for frame in frames(folder):
        assert tensors(frame) == [("function_input", "work"), ("function_output", "work")]
        assert np.frombuffer(frame.tensors[0].data, np.int64)[0] == int(frame.values["request"])


def test_a_frame_may_end_in_another_context(folder: Path) -> None:
    with Monitor(folder, "io") as monitor:
        frame = monitor.frame()
        contextvars.copy_context().run(frame.__enter__)
        frame.input(X)
        frame.__exit__(None, None, None)
        frame.input(X)  # after its end: ignored
    assert not monitor.faults.counts
    assert [tensors(frame) for frame in frames(folder)] == [[("input", "")]]


def test_sensors(folder: Path) -> None:
    with Monitor(folder, "off") as monitor:
        monitor.sensor("orientation", [0.0])
        monitor.level = "statistics"
        monitor.sensor("orientation", [90])
        monitor.sensor("motion", np.array([0.0, 9.8, -1.0]))  # type: ignore[arg-type]
        monitor.sensor("none", [])
    readings = [edge_pb2.SensorReading.FromString(item.data) for item in items(folder) if isinstance(item, Message)]
    assert [(r.sensor, list(r.values)) for r in readings] == [
        ("orientation", [90.0]), ("motion", [0.0, 9.8, -1.0]), ("none", []),
    ]  # fmt: skip
    assert readings[0].time.seconds > 1.7e9


def test_model_and_pipeline(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder.mkdir(parents=True)
    model = folder / "m.tflite"
    model.write_bytes(b"model")
    (folder / "p.json").write_text('{ "a": 1 }')
    known = "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"
    for given in (model, str(model), known, known.upper()):
        with Monitor(folder / "log", "io", model=given, pipeline=folder / "p.json", threads=4) as monitor:
            monitor.frame().__enter__().__exit__(None, None, None)
        device = metadata(folder / "log", "windtunnel.device")
        assert (device["model_sha256"], device["pipeline"], device["threads"]) == (known, '{"a":1}', "4")
    with Monitor(folder / "other", "io", model=folder / "none", pipeline={"a": object()}) as monitor:
        monitor.frame().__enter__().__exit__(None, None, None)
    assert not {"model_sha256", "pipeline"} & set(metadata(folder / "other", "windtunnel.device"))
    assert monitor.faults.counts == {"model": 1, "pipeline": 1}
    assert str(folder / "none") in caplog.text


def test_closed_monitor_records_nothing(folder: Path) -> None:
    monitor = Monitor(folder, "io")
    assert monitor.close()
    monitor.level = "layers"
    with monitor.frame() as frame:
        frame.input(X)
    monitor.sensor("light", [1])
    assert monitor.flush()
    assert monitor.close()
    assert not folder.exists()


def test_memory_of_the_process_is_recorded_once_per_flush(folder: Path) -> None:
    with Monitor(folder, "io") as monitor:
        for _ in range(4):
            for _ in range(2):
                with monitor.frame():
                    pass
            monitor.flush()
    memory = [frame.memory_bytes for frame in frames(folder)]
    assert memory[::2] == [0, *memory[2::2]]
    assert all(value > 10_000_000 for value in memory[2::2])
    assert not any(memory[1::2])


@pytest.mark.parametrize("dtype", ["f4", "f2", "f8", "u1", "i1", "u2", "i2", "i4", "i8", "?", "u4", "u8", ">f4", ">i2"])
def test_element_types(folder: Path, dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    with Monitor(folder, "io") as monitor, monitor.frame() as frame:
        frame.input(array.T)
    (tensor,) = frames(folder)[0].tensors
    name = edge_pb2.EdgeElement.Name(tensor.element).removeprefix("EDGE_ELEMENT_").lower()
    values = np.frombuffer(tensor.data, name).reshape(tuple(tensor.shape))
    np.testing.assert_array_equal(values, array.T)
    assert name == {"u4": "int64", "u8": "int64"}.get(dtype, np.dtype(dtype).newbyteorder("=").name)


def test_frames_without_with(folder: Path) -> None:
    monitor = Monitor(folder, "io")
    frame = monitor.frame()
    frame.input(np.zeros(3000, np.float32))
    frame.end()
    frame.end()
    dropped = monitor.frame()
    dropped.input(np.zeros(3000, np.float32))
    del dropped
    monitor.level = "off"
    monitor.frame().end()
    monitor.close()
    first, second = frames(folder)
    assert not first.left_out
    assert second.left_out == ["frame: the app did not end it"]
    assert monitor.backlog._reserved == 0


def test_memory_for_values_is_used_again(folder: Path) -> None:
    monitor = Monitor(folder, "io", memory_bytes=1_000_000)
    for size in (2000, 3000, 2000, 50_000, 2000):
        for number in range(5):
            values = np.full((size,), number, np.float32)
            with monitor.frame() as frame:
                frame.input(values[::-1])
                values[:] = -1  # the app uses its array again: the log has what it was
            assert monitor.flush(20)
    assert monitor.backlog._reserved == 0
    assert monitor.backlog._free_bytes <= monitor.backlog.capacity
    assert monitor.backlog._free_bytes == sum(4 * len(kept) * size // 4 for size, kept in monitor.backlog._free.items())
    monitor.close()
    recorded = frames(folder)
    assert [np.unique(np.frombuffer(f.tensors[0].data, np.float32)).tolist() for f in recorded] == [
        [float(number)] for _ in range(5) for number in range(5)
    ]
    assert monitor.frames_lost == 0


def test_a_signal_handler_may_use_the_monitor(folder: Path) -> None:
    """Its thread may be within the monitor when the signal comes."""
    with Monitor(folder, "io") as monitor:
        with monitor.backlog._lock, monitor.frame() as frame:
            frame.input(X)
        monitor.flush()
    assert len(frames(folder)) == 1


def test_statistics_are_small_on_disk(folder: Path) -> None:
    """At most 0.41 KB per frame of a classifier of 1000 classes, with all that a file has."""
    image, scores = np.random.default_rng(0).random((1, 96, 96, 3), np.float32), np.zeros((1, 1000), np.float32)
    with Monitor(folder, "statistics", model="ab" * 32, app="camera") as monitor:
        for _ in range(256):
            with monitor.frame() as frame:
                frame.input(image)
                frame.output(scores)
    assert sum(file.stat().st_size for file in folder.iterdir()) / 256 <= 410


def test_off_is_free(folder: Path) -> None:
    """Nothing is computed, copied or started at level off."""

    class Untouched:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"{name} was looked at")

    monitor = Monitor(folder, "off", raw=True, redact=lambda role, name, value: Untouched())
    value: Any = Untouched()
    with monitor.frame(raw=value) as frame:
        frame.input(value)
        frame.output(value)
        frame.layer("l", value)
        frame.postprocessed("p", value)
        frame.note(a=value)
    assert not [thread for thread in threading.enumerate() if thread.name == "windtunnel-monitor"]
    assert not monitor.faults.counts
