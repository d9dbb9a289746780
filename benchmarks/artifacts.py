"""Artifact stores, compared with the plain tools that they wrap, in the same run on the same files.

    python benchmarks/artifacts.py [--json] [--mib 64] [--rounds 6]

Local: LocalStore and shutil.copyfile + fsync. S3: the adapter and the bare `minio` client, both on a SeaweedFS that the
benchmark starts on loopback. The adapters do more: they hash and verify every byte. Times are the median of the rounds,
in milliseconds; each round stores fresh content.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.servers import S3Server, start_seaweedfs
from windtunnel.artifacts import ArtifactStore, LocalStore, open_store

Row = dict[str, str | float]
Round = Callable[[Path, Path], tuple[float, float]]


def local_peer(folder: Path) -> Round:
    def round_(source: Path, target: Path) -> tuple[float, float]:
        stored = folder / f"peer-{source.name}"
        return timed(lambda: copy_synced(source, stored)), timed(lambda: shutil.copyfile(stored, target))

    return round_


def s3_peer(server: S3Server) -> Round:
    from minio import Minio

    client = Minio(
        server.endpoint.removeprefix("http://"),
        server.access_key,
        server.secret_key,
        secure=False,
        region=server.region,
    )
    client.make_bucket("peer")

    def round_(source: Path, target: Path) -> tuple[float, float]:
        put = timed(lambda: client.fput_object("peer", source.name, str(source)))
        return put, timed(lambda: client.fget_object("peer", source.name, str(target)))

    return round_


def store_round(store: ArtifactStore) -> Round:
    def round_(source: Path, target: Path) -> tuple[float, float]:
        refs = []
        put = timed(lambda: refs.append(asyncio.run(store.put_file(source))))
        return put, timed(lambda: asyncio.run(store.fetch(refs[0].sha256, target)))

    return round_


def copy_synced(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb") as copied:
        os.fsync(copied.fileno())


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def compare(name: str, ours: Round, peer: Round, sources: list[Path], target: Path) -> Iterator[Row]:
    """Both run in every round, and which goes first changes: the second finds the machine's memory warmed up."""
    pairs = []
    for number, source in enumerate(sources):
        times = {}
        for round_ in (ours, peer) if number % 2 else (peer, ours):
            # Replacing a file costs a flush on ext4, overwriting one does not: both write a new one.
            target.unlink(missing_ok=True)
            times[round_] = round_(source, target)
        pairs.append((times[ours], times[peer]))
    for index, operation in enumerate(("put", "get")):
        mine = statistics.median(pair[0][index] for pair in pairs)
        theirs = statistics.median(pair[1][index] for pair in pairs)
        yield {
            "store": name,
            "operation": operation,
            "ours_ms": round(mine, 1),
            "peer_ms": round(theirs, 1),
            "ratio": round(mine / theirs, 2),
        }


def run(folder: Path, mib: int, rounds: int) -> list[Row]:
    sources = [folder / f"source-{index}" for index in range(rounds)]
    for source in sources:
        source.write_bytes(os.urandom(mib * 1024 * 1024))
    target = folder / "target"
    local = compare("local", store_round(LocalStore(folder / "store")), local_peer(folder), sources, target)
    rows = list(local)
    with start_seaweedfs(folder / "seaweedfs") as server:
        os.environ.update(server.environment)
        store = open_store(f"s3://ours?endpoint={server.endpoint}&create=1")
        asyncio.run(store.ping())
        rows += compare("s3", store_round(store), s3_peer(server), sources, target)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Artifact stores against the plain tools they wrap.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = run(Path(folder), options.mib, options.rounds)
    if options.json:
        print(json.dumps({"mib": options.mib, "rounds": options.rounds, "rows": rows}))
        return
    print(f"{options.mib} MiB, median of {options.rounds} rounds\n")
    print("| store | operation | Windtunnel ms | peer ms | ratio |\n|---|---|---|---|---|")
    for row in rows:
        print("| {store} | {operation} | {ours_ms} | {peer_ms} | {ratio} |".format(**row))


if __name__ == "__main__":
    main()
