"""A model into an APK, aligned and signed, compared with a bare zip and with the tools of Android.

    python benchmarks/app_builder.py [--json] [--model-mb N] [--repeat N]

The base app has a library of 8 MB and code of 2 MB; the model has 14 MB unless --model-mb is given. Each time is the
median, and includes reading the base app and the model and writing the package. `bare zip` is Python's zipfile, which
writes the same entries without checking, aligning or signing them. `apksigner` is zip, zipalign and apksigner, one
after the other, if they are installed. The goals are 0.5 s and a fifth of apksigner's time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.android_manifest import manifest
from support.base_apk import apk_bytes
from support.base_ipa import app_files, ipa_bytes
from windtunnel.app_builder import BaseApp, BenchmarkConfig, BuildRequest, Platform, SigningKey, build

GOAL_S = 0.5
GOAL_SHARE = 0.2
CONFIG = BenchmarkConfig(None, "int8")


def bare_zip(base: Path, model: Path, target: Path) -> None:
    """What a script does: all entries again, and the model, stored."""
    with zipfile.ZipFile(base) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            new.writestr(entry, old.read(entry), zipfile.ZIP_STORED)
        new.write(model, "assets/windtunnel/model.tflite")


def with_tools(base: Path, model: Path, target: Path, key: Path, certificate: Path) -> None:
    """The same with Android's tools."""
    unaligned, aligned = target.with_suffix(".zip"), target.with_suffix(".aligned")
    bare_zip(base, model, unaligned)
    subprocess.run(["zipalign", "-f", "-p", "4", str(unaligned), str(aligned)], check=True, capture_output=True)
    sign = ["apksigner", "sign", "--min-sdk-version", "24", "--key", str(key), "--cert", str(certificate)]
    subprocess.run([*sign, "--out", str(target), str(aligned)], check=True, capture_output=True)


def median(work: Callable[[], object], repeat: int) -> float:
    """Median time in seconds; the first run does not count."""
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def measure(folder: Path, model_mb: int, repeat: int) -> dict[str, float | None]:
    """The times in seconds, by what was done."""
    model, base, ipa = folder / "m.tflite", folder / "base.apk", folder / "base.ipa"
    model.write_bytes(b"\x1c\x00\x00\x00TFL3" + os.urandom(model_mb << 20))
    library = os.urandom(4 << 20) + bytes(4 << 20)
    entries = {"classes2.dex": os.urandom(2 << 20), "lib/x86_64/libbench.so": library}
    base.write_bytes(apk_bytes(entries, manifest=manifest(application={"extractNativeLibs": False})))
    old = folder / "old.apk"
    old.write_bytes(apk_bytes(entries, manifest=manifest(min_sdk=21)))
    ipa.write_bytes(ipa_bytes({**app_files(), "Assets.car": library}))
    key = SigningKey.generate()
    private, certificate = folder / "key.der", folder / "cert.pem"
    encoding = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private.private_bytes(*encoding))
    certificate.write_bytes(key.to_pem()[1])

    def package(platform: Platform, source: Path) -> Callable[[], object]:
        request = BuildRequest(platform, model, CONFIG, folder / "out", BaseApp(source, None))
        return lambda: build(request, key)

    installed = all(shutil.which(tool) for tool in ("apksigner", "zipalign"))
    return {
        "apk": median(package(Platform.ANDROID, base), repeat),
        "apk with JAR signature": median(package(Platform.ANDROID, old), repeat),
        "ipa, not signed": median(package(Platform.IOS, ipa), repeat),
        "bare zip": median(lambda: bare_zip(base, model, folder / "bare.zip"), repeat),
        "apksigner": median(lambda: with_tools(base, model, folder / "tools.apk", private, certificate), min(repeat, 3))
        if installed
        else None,
    }


def main() -> int:
    """Prints the times; exit code 1: a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model-mb", type=int, default=14)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = measure(Path(folder), options.model_mb, options.repeat)
    ours, tools = times["apk"], times["apksigner"]
    assert ours is not None
    share = ours / tools if tools else None
    passed = ours <= GOAL_S and (share is None or share <= GOAL_SHARE)
    if options.json:
        print(json.dumps({"seconds": times, "share_of_apksigner": share, "passed": passed}, indent=2))
    else:
        for name, seconds in times.items():
            print(f"{name:24}" + (f"{seconds:8.3f} s   {seconds / ours:6.2f}" if seconds else "  not installed"))
        print(f"goals: {GOAL_S} s, a fifth of apksigner's time: {'reached' if passed else 'missed'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
