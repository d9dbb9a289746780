"""The fake phone: Debian's adb and adbutils talk to it unchanged, and it behaves as a phone does."""

from __future__ import annotations

import io
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import adbutils
import pytest

from support.farm_peers.phone.adb_server import AdbServer, adb_server
from support.farm_peers.phone.apk.maker import ACTIVITY, PACKAGE, RUNNER, TEST_PACKAGE, base_app, manifest, signed_app
from support.farm_peers.phone.benchmark import ARM, HOST, benchmark_binary
from support.farm_peers.phone.phone import Phone, attached_phone
from support.farm_peers.phone.state import ANCIENT, OLD_PHONE, PhoneState
from support.graphs import dense_model
from windtunnel.app_builder import BenchmarkConfig, BuildRequest, Platform, SigningKey, build
from windtunnel.log_parser import parse_log

pytestmark = pytest.mark.heavy
TMP = "/data/local/tmp"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdbServer]:
    with adb_server(tmp_path_factory.mktemp("adb") / "home") as running:
        yield running


@pytest.fixture
def phone(server: AdbServer, tmp_path: Path) -> Iterator[Phone]:
    with attached_phone(tmp_path / "phone") as attached:
        server.connect(attached.serial)
        server.wait_for(attached.serial, "device")
        yield attached
        server.adb("disconnect", attached.serial)


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture(scope="module")
def app(key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_app(tmp_path_factory.mktemp("app"), key)


def built_app(folder: Path, key: SigningKey) -> Path:
    config = BenchmarkConfig(run_id="run-1", variant="float32", num_threads=2)
    base = base_app(folder / "base.apk")
    model = dense_model(folder / "model.tflite")
    return build(BuildRequest(Platform.ANDROID, model, config, folder / "app.apk", base), key).path


def adb(server: AdbServer, phone: Phone, *words: str, input: bytes | None = None) -> tuple[int, str, str]:
    done = server.adb("-s", phone.serial, *words, input=input)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def until(condition: Callable[[], bool], patience_s: float = 30.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline


def test_adb_lists_it_with_its_model(server: AdbServer, phone: Phone) -> None:
    (line,) = [one for one in server.adb("devices", "-l").stdout.decode().splitlines() if phone.serial in one]
    assert "device" in line.split() and "model:Pixel_8" in line


def test_the_shell_is_androids_with_exit_codes_streams_and_input(server: AdbServer, phone: Phone) -> None:
    assert adb(server, phone, "shell", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    assert adb(server, phone, "shell", "cat | wc -c", input=b"x" * 700_001)[1].strip() == "700001"
    assert adb(server, phone, "shell", "id -un")[1] == "shell\n"
    assert adb(server, phone, "shell", 'for i in 1 2; do [ "$i" -gt 1 ] && echo "$((i * 3))"; done')[1] == "6\n"
    status, _, err = adb(server, phone, "shell", "su -c id")
    assert status == 127 and err.endswith("/system/bin/sh: su: inaccessible or not found\n")
    # Only what a shell may write: not the system, not files of this host.
    assert adb(server, phone, "shell", "echo x > /system/x")[0] == 1
    assert adb(server, phone, "shell", "ls /work /home /etc/hostname")[1] == ""


def test_files_travel_both_ways_with_mode_and_time(server: AdbServer, phone: Phone, tmp_path: Path) -> None:
    source = tmp_path / "big file.bin"
    source.write_bytes(bytes(range(256)) * 12_345)
    source.chmod(0o744)
    source.touch()
    assert adb(server, phone, "push", str(source), f"{TMP}/new/folder/a b.bin")[0] == 0
    found = phone.file(f"{TMP}/new/folder/a b.bin")
    assert found.read_bytes() == source.read_bytes()
    assert found.stat().st_mode & 0o100 and int(found.stat().st_mtime) == int(source.stat().st_mtime)
    assert adb(server, phone, "pull", f"{TMP}/new", str(tmp_path / "back"))[0] == 0
    assert (tmp_path / "back" / "folder" / "a b.bin").read_bytes() == source.read_bytes()
    status, out, _ = adb(server, phone, "push", str(source), "/system/bin/x")
    assert status == 1 and "Permission denied" in out
    assert adb(server, phone, "pull", f"{TMP}/nothing", str(tmp_path / "no"))[0] == 1


def test_adbutils_talks_to_it(server: AdbServer, phone: Phone, tmp_path: Path) -> None:
    device = adbutils.AdbClient("127.0.0.1", server.port).device(phone.serial)
    assert (device.prop.model, device.getprop("ro.build.version.sdk")) == ("Pixel 8", "35")
    done = device.shell2("echo a; echo b >&2; exit 3", v2=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "a\n", "b\n")
    assert device.shell2("(exit 4)").returncode == 4
    device.sync.push(b"hello" * 5000, f"{TMP}/h", 0o755, check=True)
    assert device.sync.read_bytes(f"{TMP}/h") == b"hello" * 5000
    assert [one.path for one in device.sync.list(TMP)] == ["h"]
    assert device.sync.stat(f"{TMP}/h").mode & 0o111
    assert device.battery().level == 87
    with pytest.raises(adbutils.AdbError, match="open failed"):
        device.sync.read_bytes(f"{TMP}/nothing")


@pytest.mark.parametrize("runs_on", [HOST, ARM])
def test_a_pushed_benchmark_really_runs_the_model(
    server: AdbServer, phone: Phone, tmp_path: Path, runs_on: str
) -> None:
    if runs_on == ARM:
        from support.arm import arm_system

        arm_system()
    model, binary = dense_model(tmp_path / "m.tflite"), tmp_path / "benchmark_model"
    binary.write_bytes(benchmark_binary(runs_on))
    binary.chmod(0o755)
    assert adb(server, phone, "push", str(model), str(binary), TMP)[0] == 0
    status, out, _ = adb(server, phone, "shell", f"cd {TMP} && ./benchmark_model --graph=m.tflite --num_threads=2")
    (run,) = parse_log(out).runs
    assert status == 0 and run.error is None and not run.truncated
    assert (run.threads, run.accelerator_requested) == (2, "xnnpack")
    phone.file(f"{TMP}/m.tflite").write_bytes(b"not a model at all")
    status, out, _ = adb(server, phone, "shell", f"cd {TMP} && ./benchmark_model --graph=m.tflite")
    assert status == 1 and "Benchmarking failed" in out


def test_bytes_that_are_no_program_for_it_do_not_run(server: AdbServer, phone: Phone, tmp_path: Path) -> None:
    for name, data in (("elf", b"\x7fELF\1\1\1" + bytes(100)), ("old", benchmark_binary(abi="armeabi-v7a"))):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o755)
        adb(server, phone, "push", str(tmp_path / name), TMP)
        status, _, err = adb(server, phone, "shell", f"{TMP}/{name} --graph=x")
        assert status == 1 and "not executable: " in err
    (tmp_path / "closed").write_bytes(benchmark_binary())
    adb(server, phone, "push", str(tmp_path / "closed"), TMP)
    adb(server, phone, "shell", f"chmod 644 {TMP}/closed")
    status, _, err = adb(server, phone, "shell", f"{TMP}/closed")
    assert status == 126 and "ermission denied" in err


def test_unplugging_ends_the_stream_and_hangs_up_what_the_shell_runs(
    server: AdbServer, phone: Phone, tmp_path: Path
) -> None:
    push_benchmark(server, phone, tmp_path)
    phone.state.may_finish.clear()
    detached = f"cd {TMP}; nohup sh -c './benchmark_model --graph=m.tflite; echo $? > rc' > log 2>&1 < /dev/null &"
    assert adb(server, phone, "shell", detached)[0] == 0
    with ThreadPoolExecutor() as pool:
        running = pool.submit(
            adb, server, phone, "shell", f"cd {TMP}; ./benchmark_model --graph=m.tflite; echo $? > dead"
        )
        until(lambda: len(phone.state.benchmarks) == 2 and phone.state.started.is_set())
        phone.unplug()
        status, out, _ = running.result()
    # As with a real phone: no error, only less.
    assert status == 0 and "Inference timings" not in out
    assert server.states().get(phone.serial) != "device"
    phone.state.may_finish.set()
    phone.plug()
    server.adb("disconnect", phone.serial)
    server.connect(phone.serial)
    until(lambda: adb(server, phone, "shell", f"cat {TMP}/rc")[1] == "0\n")
    assert "Inference timings" in adb(server, phone, "shell", f"cat {TMP}/log")[1]
    assert not phone.file(f"{TMP}/dead").exists()


def push_benchmark(server: AdbServer, phone: Phone, folder: Path) -> None:
    binary = folder / "benchmark_model"
    binary.write_bytes(benchmark_binary())
    binary.chmod(0o755)
    assert adb(server, phone, "push", str(dense_model(folder / "m.tflite")), str(binary), TMP)[0] == 0


@pytest.mark.parametrize(
    ("fault", "status", "word"),
    [
        ("segv", 128 + signal.SIGSEGV, "Fatal signal 11"),
        ("oom", 128 + signal.SIGKILL, "lowmemorykiller"),
        ("exit", 1, ""),
    ],
)
def test_benchmarks_end_badly_on_request(
    server: AdbServer, phone: Phone, tmp_path: Path, fault: str, status: int, word: str
) -> None:
    push_benchmark(server, phone, tmp_path)
    phone.state.faults.benchmark = fault
    done = adb(server, phone, "shell", f"cd {TMP} && ./benchmark_model --graph=m.tflite; echo $?")
    assert done[1].splitlines()[-1] == str(status)
    assert word in adb(server, phone, "logcat", "-d", "-b", "all")[1]


def test_reboot_ends_processes_and_keeps_files(server: AdbServer, phone: Phone, tmp_path: Path) -> None:
    push_benchmark(server, phone, tmp_path)
    phone.state.may_finish.clear()
    before = adb(server, phone, "shell", "cat /proc/sys/kernel/random/boot_id")[1]
    adb(server, phone, "shell", f"cd {TMP}; nohup ./benchmark_model --graph=m.tflite > log 2>&1 < /dev/null &")
    until(phone.state.started.is_set)
    assert "benchmark_model" in adb(server, phone, "shell", "ps -A")[1]
    adb(server, phone, "reboot")
    server.adb("disconnect", phone.serial)
    server.connect(phone.serial)
    assert adb(server, phone, "shell", "pidof benchmark_model")[0] == 1
    assert adb(server, phone, "shell", "cat /proc/sys/kernel/random/boot_id")[1] != before
    assert adb(server, phone, "shell", f"ls {TMP}/m.tflite")[0] == 0


def test_an_app_is_installed_started_and_stopped(server: AdbServer, phone: Phone, app: Path) -> None:
    assert adb(server, phone, "install", str(app))[:2] == (0, "Performing Streamed Install\nSuccess\n")
    assert f"package:{PACKAGE}\n" in adb(server, phone, "shell", "pm list packages")[1]
    since = adb(server, phone, "shell", "date '+%m-%d %H:%M:%S.000'")[1].strip()
    status, out, _ = adb(server, phone, "shell", f"am start -W -S -n {ACTIVITY} --es args '\"--num_threads=3\"'")
    assert status == 0 and "Status: ok" in out
    until(lambda: "Peak memory" in adb(server, phone, "shell", f"logcat -d -v threadtime -T '{since}'")[1])
    (run,) = parse_log(adb(server, phone, "shell", f"logcat -d -v threadtime -T '{since}'")[1]).runs
    assert run.threads == 3 and run.error is None and not run.truncated
    assert adb(server, phone, "shell", f"pidof {PACKAGE}")[0] == 0
    adb(server, phone, "shell", f"am force-stop {PACKAGE}")
    assert adb(server, phone, "shell", f"pidof {PACKAGE}")[0] == 1
    adb(server, phone, "logcat", "-c")
    assert "tflite" not in adb(server, phone, "logcat", "-d")[1]
    status, out, _ = adb(server, phone, "shell", f"am start -n {PACKAGE}/.Nothing")
    assert status == 1 and "does not exist" in out


def test_instrumentation_runs_in_the_app_it_tests(
    server: AdbServer, phone: Phone, app: Path, key: SigningKey, tmp_path: Path
) -> None:
    test_app = signed_app(tmp_path / "tests.apk", key, manifest(TEST_PACKAGE, tests=PACKAGE))
    adb(server, phone, "install", str(app))
    adb(server, phone, "install", str(test_app))
    out = adb(server, phone, "shell", f"am instrument -w -e key value {TEST_PACKAGE}/{RUNNER}")[1]
    assert "OK (1 test)" in out
    phone.state.faults.benchmark = "segv"
    out = adb(server, phone, "shell", f"am instrument -w {TEST_PACKAGE}/{RUNNER}")[1]
    assert "Process crashed" in out
    assert "INSTRUMENTATION_FAILED" in adb(server, phone, "shell", f"am instrument -w {TEST_PACKAGE}/Other")[2]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.97, 0.999])
def test_one_flipped_byte_is_refused(server: AdbServer, phone: Phone, app: Path, tmp_path: Path, share: float) -> None:
    data = bytearray(app.read_bytes())
    data[int(share * len(data))] ^= 1
    (tmp_path / "flipped.apk").write_bytes(data)
    status, _, err = adb(server, phone, "install", str(tmp_path / "flipped.apk"))
    assert status == 1 and "INSTALL_PARSE_FAILED" in err
    assert not phone.packages.installed


def test_packages_that_do_not_fit_are_refused(
    server: AdbServer, phone: Phone, app: Path, key: SigningKey, tmp_path: Path
) -> None:
    def refusal(
        name: str, signing: SigningKey, document: bytes | None = None, abis: tuple[str, ...] = ("arm64-v8a",)
    ) -> str:
        return adb(server, phone, "install", str(signed_app(tmp_path / f"{name}.apk", signing, document, abis)))[2]

    assert "INSTALL_FAILED_NO_MATCHING_ABIS" in refusal("abi", key, abis=("x86",))
    assert "INSTALL_FAILED_OLDER_SDK" in refusal("sdk", key, manifest(min_sdk=36))
    assert "INSTALL_FAILED_TEST_ONLY" in refusal("test", key, manifest(test_only=True))
    assert adb(server, phone, "install", str(app))[0] == 0
    assert "INSTALL_FAILED_UPDATE_INCOMPATIBLE" in refusal("key", SigningKey.generate())
    assert "INSTALL_FAILED_VERSION_DOWNGRADE" in refusal("down", key, manifest(version=0))
    assert adb(server, phone, "uninstall", PACKAGE)[0] == 0
    phone.state.free_bytes = 100
    assert "INSTALL_FAILED_INSUFFICIENT_STORAGE" in refusal("full", key)
    (tmp_path / "plain.apk").write_bytes(unsigned(app))
    assert "INSTALL_PARSE_FAILED_NO_CERTIFICATES" in adb(server, phone, "install", str(tmp_path / "plain.apk"))[2]


def unsigned(app: Path) -> bytes:
    """The same entries without the signing block."""
    stream = io.BytesIO()
    with zipfile.ZipFile(app) as source, zipfile.ZipFile(stream, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return stream.getvalue()


def test_a_full_disk_takes_no_file(server: AdbServer, phone: Phone, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(300_000))
    phone.state.free_bytes = 100_000
    status, out, _ = adb(server, phone, "push", str(tmp_path / "big"), TMP)
    assert status == 1 and "No space left on device" in out
    assert adb(server, phone, "shell", f"ls {TMP}/big")[0] == 1


def test_it_may_be_unauthorized_or_offline(server: AdbServer, phone: Phone) -> None:
    phone.change_mode("offline")
    server.wait_for(phone.serial, "offline")
    phone.change_mode("unauthorized")
    server.adb("disconnect", phone.serial)
    assert "failed to authenticate" in server.connect(phone.serial)
    assert server.states()[phone.serial] == "unauthorized"
    phone.change_mode("device")
    server.adb("disconnect", phone.serial)
    server.connect(phone.serial)
    assert server.states()[phone.serial] == "device"


def test_an_old_phone_has_no_exit_codes(server: AdbServer, tmp_path: Path) -> None:
    state = PhoneState(properties=dict(OLD_PHONE), features=ANCIENT)
    with attached_phone(tmp_path / "old", state) as phone:
        server.connect(phone.serial)
        assert adb(server, phone, "shell", "echo a; echo b >&2; exit 7") == (0, "a\nb\n", "")
        assert "Can't find service" in adb(server, phone, "shell", "dumpsys thermalservice")[1]
        server.adb("disconnect", phone.serial)


def test_settings_and_radios_are_what_was_put(server: AdbServer, phone: Phone) -> None:
    assert adb(server, phone, "shell", "settings get global stay_on_while_plugged_in")[1] == "null\n"
    adb(server, phone, "shell", "svc power stayon usb; cmd connectivity airplane-mode enable")
    assert adb(server, phone, "shell", "settings get global stay_on_while_plugged_in")[1] == "2\n"
    assert adb(server, phone, "shell", "cmd connectivity airplane-mode")[1] == "enabled\n"
    adb(server, phone, "shell", "input keyevent KEYCODE_SLEEP")
    assert "mWakefulness=Asleep" in adb(server, phone, "shell", "dumpsys power")[1]
    adb(server, phone, "shell", "input keyevent 224")
    assert "mWakefulness=Awake" in adb(server, phone, "shell", "dumpsys power")[1]


def test_nothing_runs_on_when_it_is_closed(tmp_path: Path, server: AdbServer) -> None:
    with attached_phone(tmp_path / "phone") as phone:
        server.connect(phone.serial)
        push_benchmark(server, phone, tmp_path)
        phone.state.may_finish.clear()
        adb(server, phone, "shell", f"cd {TMP}; nohup ./benchmark_model --graph=m.tflite > log 2>&1 < /dev/null &")
        until(phone.state.started.is_set)
        server.adb("disconnect", phone.serial)
    found = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False).stdout
    assert not found
