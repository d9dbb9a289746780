"""Artifacts through the services' API: uploads and downloads that survive broken connections, and lists of a run's."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from support.cutting_proxy import cutting_proxy
from support.metrics_store import Store, metrics_store, with_plan
from support.run_events import RunEvents, sha256
from windtunnel.artifacts import Artifacts, Corrupt, LocalStore
from windtunnel.client.artifacts import Artifact, download, read_artifact
from windtunnel.client.endpoints import Endpoints
from windtunnel.client.served_store import ServedStore
from windtunnel.client.stores import find_store
from windtunnel.errors import Conflict, InvalidInput, NotFound, Unavailable, WindtunnelError
from windtunnel.metrics_store.artifact_service import ArtifactServing, StoreFacts
from windtunnel.metrics_store.read_only import ARTIFACTS_API
from windtunnel.rpc import RpcServer, from_rpc_error
from windtunnel.v1 import artifacts_pb2 as pb
from windtunnel.v1 import types_pb2
from windtunnel.v1.artifacts_pb2_grpc import ArtifactServiceStub, add_ArtifactServiceServicer_to_server

if TYPE_CHECKING:
    from windtunnel.v1.artifacts_pb2_grpc import ArtifactServiceAsyncStub

MB = 1024 * 1024
LIMIT = 64 * MB


@dataclass
class Served:
    """The service of a store in a folder. `home` is the service's own."""

    port: int
    home: Path
    store: LocalStore
    runs: Store


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    home = tmp_path / "theirs"
    store = LocalStore(home / "artifacts")
    async with metrics_store(f"sqlite:///{tmp_path / 'metrics.db'}") as runs:
        facts = StoreFacts(f"s3://user:secret@host/{home}", home, LIMIT)
        service = ArtifactServing(runs.queries, Artifacts(store, home / "cache"), facts)
        server = RpcServer([(ARTIFACTS_API, lambda it: add_ArtifactServiceServicer_to_server(service, it))])
        await server.start("127.0.0.1", 0)
        yield Served(server.port, home, store, runs)
        await server.stop(0)


@asynccontextmanager
async def stub_at(port: int) -> AsyncIterator[ArtifactServiceAsyncStub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield ArtifactServiceStub(channel)


@pytest.fixture
async def api(served: Served) -> AsyncIterator[ArtifactServiceAsyncStub]:
    async with stub_at(served.port) as stub:
        yield stub


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(16 * MB + 123))
    return path


async def error_of(call: Awaitable[Any]) -> WindtunnelError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def artifact_of(path: Path) -> Artifact:
    return Artifact("variant", hash_of(path), path.stat().st_size, path.name)


async def test_a_file_goes_there_and_back(
    served: Served, api: ArtifactServiceAsyncStub, large: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    ref = await ServedStore(api, lambda done, total: seen.append((done, total))).put_file(large)
    assert ref.sha256 == hash_of(large) and await served.store.stat(ref.sha256) == ref
    assert seen[-1] == (ref.size_bytes, ref.size_bytes) and len(seen) > 10
    assert list((served.home / "uploads").iterdir()) == []
    seen.clear()
    await ServedStore(api, lambda done, total: seen.append((done, total))).put_file(large)
    assert seen == []
    target = await download(ServedStore(api), artifact_of(large), tmp_path / "back.bin")
    assert target.read_bytes() == large.read_bytes()
    assert [path.name for path in tmp_path.glob(".back*")] == []


@pytest.mark.parametrize("content", [b"", b"x"])
async def test_small_things(api: ArtifactServiceAsyncStub, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "small"
    path.write_bytes(content)
    store = ServedStore(api)
    assert await store.put_file(path) == await store.put_bytes(content)
    assert await store.read_bytes(hash_of(path)) == content
    assert (await download(store, artifact_of(path), tmp_path / "back")).read_bytes() == content


async def test_an_upload_that_breaks_goes_on_where_it_was(served: Served, large: Path) -> None:
    size = large.stat().st_size
    async with cutting_proxy(served.port, size // 3, size // 3) as proxy, stub_at(proxy.port) as api:
        ref = await ServedStore(api).put_file(large)
        assert len(proxy.carried) == 3
        # Begun again, it would have sent two thirds twice over.
        assert sum(proxy.carried) < size + 12 * MB and proxy.carried[-1] < size * 0.8
    assert await served.store.stat(ref.sha256) == ref


async def test_a_download_that_breaks_goes_on_where_it_was(served: Served, large: Path, tmp_path: Path) -> None:
    await served.store.put_file(large)
    size = large.stat().st_size
    async with cutting_proxy(served.port, size // 3, size // 3) as proxy, stub_at(proxy.port) as api:
        target = await download(ServedStore(api), artifact_of(large), tmp_path / "back.bin")
        assert len(proxy.carried) == 3 and proxy.carried[-1] < size * 0.8
    assert target.read_bytes() == large.read_bytes()


async def test_a_download_goes_on_from_what_an_earlier_process_left(
    served: Served, api: ArtifactServiceAsyncStub, large: Path, tmp_path: Path
) -> None:
    await served.store.put_file(large)
    wanted, target, offsets = artifact_of(large), tmp_path / "back.bin", []
    part = tmp_path / f".back.bin.{wanted.sha256[:12]}.part"
    part.write_bytes(large.read_bytes()[: 10 * MB])
    await download(ServedStore(api), wanted, target, on_progress=lambda done, total: offsets.append(done))
    assert target.read_bytes() == large.read_bytes() and offsets[0] >= 10 * MB
    target.unlink()
    part.write_bytes(b"not the beginning of it" * 1000)
    with pytest.raises(Corrupt):
        await download(ServedStore(api), wanted, target)
    assert not target.exists()
    await download(ServedStore(api), wanted, target)


async def test_nothing_is_replaced_unasked(api: ArtifactServiceAsyncStub, tmp_path: Path) -> None:
    store, target = ServedStore(api), tmp_path / "made.tflite"
    ref = await store.put_bytes(b"theirs")
    wanted = Artifact("variant", ref.sha256, 6, "m.tflite")
    target.write_bytes(b"made")
    with pytest.raises(Conflict, match=r"made\.tflite"):
        await download(store, wanted, target)
    assert target.read_bytes() == b"made"
    await download(store, wanted, target, force=True)
    assert target.read_bytes() == b"theirs"
    with pytest.raises(InvalidInput, match="is a folder"):
        await download(store, wanted, tmp_path, force=True)
    with pytest.raises(NotFound, match="no folder"):
        await download(store, wanted, tmp_path / "missing" / "m.tflite")


async def test_a_link_stays_and_its_file_is_replaced(api: ArtifactServiceAsyncStub, tmp_path: Path) -> None:
    ref = await ServedStore(api).put_bytes(b"theirs")
    wanted = Artifact("variant", ref.sha256, 6, "m.tflite")
    link, device = tmp_path / "link", tmp_path / "device"
    (tmp_path / "made").write_bytes(b"made")
    link.symlink_to("made")
    device.symlink_to("/dev/null")
    await download(ServedStore(api), wanted, link, force=True)
    assert link.is_symlink() and (tmp_path / "made").read_bytes() == b"theirs"
    with pytest.raises(Conflict, match="device is not a regular file"):
        await download(ServedStore(api), wanted, device, force=True)
    assert device.readlink() == Path("/dev/null")


async def test_downloads_of_one_artifact_at_once(
    served: Served, api: ArtifactServiceAsyncStub, large: Path, tmp_path: Path
) -> None:
    await served.store.put_file(large)
    store, wanted, target = ServedStore(api), artifact_of(large), tmp_path / "back.bin"
    ends = await asyncio.gather(
        *(download(store, wanted, target, force=True) for _ in range(3)), return_exceptions=True
    )
    assert target in ends and target.read_bytes() == large.read_bytes()
    assert all(isinstance(end, Path | Conflict) for end in ends), ends
    assert list(tmp_path.glob(".back*")) == []


async def test_a_name_that_is_taken_meanwhile_leaves_no_part(api: ArtifactServiceAsyncStub, tmp_path: Path) -> None:
    ref = await ServedStore(api).put_bytes(b"theirs")
    wanted, target = Artifact("variant", ref.sha256, 6, "m.tflite"), tmp_path / "m.tflite"

    def take_name(done: int, total: int) -> None:
        target.write_bytes(b"made")

    with pytest.raises(Conflict, match="already exists"):
        await download(ServedStore(api), wanted, target, on_progress=take_name)
    assert target.read_bytes() == b"made" and list(tmp_path.glob(".m*")) == []


async def test_what_lies_where_a_download_is_kept(api: ArtifactServiceAsyncStub, tmp_path: Path) -> None:
    ref = await ServedStore(api).put_bytes(b"theirs")
    wanted, target = Artifact("variant", ref.sha256, 6, "m.tflite"), tmp_path / "m.tflite"
    part, other = tmp_path / f".m.tflite.{ref.sha256[:12]}.part", tmp_path / "other"
    other.write_bytes(b"")
    part.symlink_to(other)
    with pytest.raises(InvalidInput, match="not a regular file"):
        await download(ServedStore(api), wanted, target)
    part.unlink()
    os.mkfifo(part)
    with pytest.raises(InvalidInput, match="not a regular file"):
        await asyncio.wait_for(download(ServedStore(api), wanted, target), 5)
    part.unlink()
    assert other.read_bytes() == b"" and not target.exists()
    part.write_bytes(b"longer than the artifact")
    with part.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="another download is writing"):
            await download(ServedStore(api), wanted, target)
    assert (await download(ServedStore(api), wanted, target)).read_bytes() == b"theirs"


async def test_a_download_that_is_given_up_is_not_an_error_of_the_service(
    served: Served, api: ArtifactServiceAsyncStub, large: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await served.store.put_file(large)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            call = api.Download(pb.DownloadRequest(sha256=hash_of(large)))
            await anext(aiter(call))
            call.cancel()
            await asyncio.sleep(0.2)
    assert "different Context" not in caplog.text, caplog.text


async def test_what_is_not_there(api: ArtifactServiceAsyncStub, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await download(ServedStore(api), Artifact("variant", "0" * 64, 1, "x"), tmp_path / "x")
    with pytest.raises(NotFound):
        await ServedStore(api).read_bytes("0" * 64)
    assert isinstance(await error_of(api.GetUpload(pb.GetUploadRequest(sha256="../../etc/passwd"))), InvalidInput)


async def sent(api: ArtifactServiceAsyncStub, *messages: pb.UploadRequest) -> WindtunnelError:
    async def stream() -> AsyncIterator[pb.UploadRequest]:
        for message in messages:
            yield message

    return await error_of(api.Upload(stream()))


async def test_uploads_that_are_refused(served: Served, api: ArtifactServiceAsyncStub) -> None:
    right = hashlib.sha256(b"12345678").hexdigest()
    request = pb.UploadRequest
    cases = {
        "without a message": [],
        "not a sha256": [request(sha256="../x", size_bytes=1)],
        f"at most {LIMIT}": [request(sha256=right, size_bytes=LIMIT + 1)],
        "continues at byte 5": [request(sha256=right, size_bytes=8, offset=5, data=b"678")],
        "more than the 8 bytes": [request(sha256=right, size_bytes=8, data=b"1234"), request(data=b"56789")],
        "not to": [request(sha256=right, size_bytes=8, data=b"1234567x")],
    }
    for words, messages in cases.items():
        error = await sent(api, *messages)
        assert isinstance(error, InvalidInput) and words in str(error), (words, str(error))
    assert await served.store.stat(right) is None
    # Too few bytes are kept, and can be completed; wrong ones were thrown away.
    assert "4 of 8 bytes" in str(await sent(api, request(sha256=right, size_bytes=8, data=b"1234")))
    assert (await api.GetUpload(pb.GetUploadRequest(sha256=right))).received_bytes == 4

    async def rest() -> AsyncIterator[pb.UploadRequest]:
        yield request(sha256=right, size_bytes=8, offset=4, data=b"5678")

    assert (await api.Upload(rest())).artifact.sha256 == right
    assert await served.store.read_bytes(right) == b"12345678"


async def test_uploads_of_one_artifact_at_once(served: Served, api: ArtifactServiceAsyncStub) -> None:
    content = os.urandom(3 * MB)
    name = hashlib.sha256(content).hexdigest()
    others = 3
    met = asyncio.Barrier(others)

    async def pieces() -> AsyncIterator[pb.UploadRequest]:
        yield pb.UploadRequest(sha256=name, size_bytes=len(content))
        await met.wait()
        yield pb.UploadRequest(data=content)

    answers = await asyncio.gather(*(api.Upload(pieces()) for _ in range(others)))
    assert {answer.artifact.sha256 for answer in answers} == {name}
    assert list((served.home / "uploads").iterdir()) == []


async def test_an_upload_that_is_done_by_another_call_meanwhile(served: Served, api: ArtifactServiceAsyncStub) -> None:
    content = b"12345678"
    name = hashlib.sha256(content).hexdigest()

    async def pieces() -> AsyncIterator[pb.UploadRequest]:
        yield pb.UploadRequest(sha256=name, size_bytes=8, data=content[:4])
        part = served.home / "uploads" / f"{name}.part"
        while not part.exists() or part.stat().st_size < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        part.unlink()
        await served.store.put_bytes(content)
        yield pb.UploadRequest(data=content[4:])

    assert (await api.Upload(pieces())).artifact.size_bytes == 8
    error = await sent(api, pb.UploadRequest(sha256=name, size_bytes=9))
    assert isinstance(error, InvalidInput) and "has 8 bytes, not 9" in str(error)


async def test_what_an_upload_of_another_size_left_is_thrown_away(
    served: Served, api: ArtifactServiceAsyncStub, tmp_path: Path
) -> None:
    path = tmp_path / "right"
    path.write_bytes(b"12345678")
    left = pb.UploadRequest(sha256=hash_of(path), size_bytes=20, data=b"0123456789")
    assert "10 of 20 bytes" in str(await sent(api, left))
    error = await sent(api, pb.UploadRequest(sha256=hash_of(path), size_bytes=8, offset=10))
    assert "0 have arrived" in str(error)
    assert "10 of 20 bytes" in str(await sent(api, left))
    await ServedStore(api).put_file(path)
    assert await served.store.read_bytes(hash_of(path)) == b"12345678"


async def test_a_file_that_changes_while_it_is_sent_is_not_stored_under_a_wrong_name(
    served: Served, api: ArtifactServiceAsyncStub, large: Path
) -> None:
    before = hash_of(large)

    def change(done: int, total: int) -> None:
        with large.open("r+b") as file:
            file.seek(total - 10)
            file.write(b"changed")

    with pytest.raises(InvalidInput, match="did the file change"):
        await ServedStore(api, change).put_file(large)
    assert await served.store.stat(before) is None


async def test_whether_the_stores_are_the_same_is_found_out(served: Served, tmp_path: Path) -> None:
    async with stub_at(served.port) as api:
        facts = await api.GetStore(pb.GetStoreRequest())
        assert facts.max_upload_bytes == LIMIT and "secret" not in facts.url and facts.url.startswith("s3://host/")
        addresses = {"metrics_store": f"127.0.0.1:{served.port}"}
        same = Endpoints("nats://x", addresses, str(served.store.root), tmp_path)
        assert isinstance(await find_store(same, lambda: api), LocalStore)
        other = Endpoints("nats://x", addresses, str(tmp_path / "made"), tmp_path, artifacts_assumed=True)
        assert isinstance(await find_store(other, lambda: api), ServedStore)
        assert not (tmp_path / "made").exists()
        # A bucket without credentials is not the user's, whatever it is named.
        bucket = Endpoints("nats://x", addresses, "s3://models?endpoint=http://127.0.0.1:1", tmp_path)
        assert isinstance(await find_store(bucket, lambda: api), ServedStore)


async def test_services_that_cannot_be_asked(tmp_path: Path) -> None:
    named = Endpoints("nats://x", {}, str(tmp_path / "store"), tmp_path)

    def nobody() -> ArtifactServiceAsyncStub:
        raise AssertionError("there is no address")

    assert isinstance(await find_store(named, nobody), LocalStore)
    assumed = Endpoints("nats://x", {}, str(tmp_path / "store"), tmp_path, artifacts_assumed=True)
    with pytest.raises(Unavailable, match="WINDTUNNEL_METRICS_STORE_ADDRESS"):
        await find_store(assumed, nobody)
    silent = Endpoints("nats://x", {"metrics_store": "127.0.0.1:1"}, str(tmp_path), tmp_path, artifacts_assumed=True)
    async with stub_at(1) as api:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 does not answer"):
            await find_store(silent, lambda: api)


async def test_the_artifacts_of_a_run(served: Served, api: ArtifactServiceAsyncStub) -> None:
    run = await with_plan(served.runs, RunEvents())
    await served.runs.record(*run.all())
    request = pb.ListArtifactsRequest
    found = [read_artifact(item) for item in (await api.ListArtifacts(request(run_id="run-1"))).artifacts]
    kinds = [item.kind for item in found]
    assert kinds[:3] == ["trained_model", "plan", "float_model"] and kinds[-1] == "report"
    (int8,) = (await api.ListArtifacts(request(run_id="run-1", variant="int8", kind="variant"))).artifacts
    assert (int8.artifact.sha256, int8.file_name) == (sha256("model int8"), "ssd-3-int8.tflite")
    assert int8.HasField("made_at") and not int8.platform and not int8.cell_id
    by_enum = request(run_id="run-1", variant="int8", artifact_kind=types_pb2.ARTIFACT_KIND_VARIANT)
    assert list((await api.ListArtifacts(by_enum)).artifacts) == [int8]
    assert (int8.artifact_kind, int8.device_platform) == (types_pb2.ARTIFACT_KIND_VARIANT, 0)
    assert isinstance(await error_of(api.ListArtifacts(request(run_id="run-1", kind="film"))), InvalidInput)
    apps = {item.platform: item.file_name for item in found if item.kind == "app" and item.variant == "int8"}
    assert apps["android"].endswith(".apk") and set(apps) == {"android", "host"}
    logs = [item for item in found if item.kind == "log" and item.variant == "int8"]
    assert len({item.cell_id for item in logs}) == 2 and all(item.attempt == 1 for item in logs)
    assert len({item.file_name for item in found}) == len(found)
    assert isinstance(await error_of(api.ListArtifacts(request(run_id="nope"))), NotFound)
