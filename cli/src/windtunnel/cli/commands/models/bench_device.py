"""The part of `windtunnel bench` that runs on a farm: `--device FARM/DEVICE[@OS]`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from windtunnel.accelerators import shown_accelerator
from windtunnel.cli.commands.shape_option import Shapes
from windtunnel.cli.io.console import run_async, say
from windtunnel.cli.io.files import write_whole
from windtunnel.errors import WindtunnelError

if TYPE_CHECKING:
    from windtunnel.farm_dispatcher.bench_on_farm import Measured, Target
    from windtunnel.farm_dispatcher.domain.device_runs import Polled, Submitted


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """What the command line says of a measurement on a farm.

    Attributes:
        model: the .tflite file.
        device: FARM/DEVICE or FARM/DEVICE@OS.
        accelerator: as cells spell it; None: the farm's default.
        threads: of the CPU.
        run_as: None: the farm's default.
        shapes: of the inputs.
        resume: key of a farm run that was started before; None: a new one.
        farms: farms.yaml; None: that of the environment.
        catalog: of benchmark binaries and base apps; None: that of the environment.
        log: where the log is written; None: nowhere.
        force: replace a file that exists.
    """

    model: Path
    device: str
    accelerator: str | None
    threads: int
    run_as: Literal["executable", "app"] | None
    shapes: Shapes
    resume: str | None
    farms: Path | None
    catalog: Path | None
    log: Path | None
    force: bool


def measure_on_device(options: DeviceOptions) -> dict[str, Any]:
    """Measures a model on a device of a farm, with the farm's own words on standard error.

    Args:
        options: of the command line.

    Returns:
        The document `windtunnel.bench/1`.

    Raises:
        UsageError: the device is not FARM/DEVICE.
        WindtunnelError: it could not be measured.
    """
    from windtunnel.cli.local.documents import device_bench_document
    from windtunnel.farm_dispatcher.bench_on_farm import failure_of

    bench = _bench(options)
    told = _Told(options)
    try:
        target, measured = run_async(_run(bench, told))
    except WindtunnelError:
        told.left(bench.key)
        raise
    log = measured.result.log if measured.result.run is None else measured.result.run.log
    if options.log is not None and log:
        write_whole(options.log, log.encode(), force=options.force)
        say(f"wrote {options.log}")
    failure = failure_of(measured)
    if failure is not None:
        if measured.cost is not None:
            say(f"the farm bills {_usd(measured.cost)} for it")
        raise failure
    return device_bench_document(target, measured, options.model.name, bench.key)


def _bench(options: DeviceOptions) -> Any:
    from windtunnel.cli.local.device_bench import DeviceBench
    from windtunnel.farm_dispatcher.bench_on_farm import Wanted, new_key

    farm, separator, device = options.device.partition("/")
    if not separator or not farm or not device:
        raise click.BadParameter(
            f"{options.device!r} is not FARM/DEVICE or FARM/DEVICE@OS; `windtunnel devices` lists both",
            param_hint="--device",
        )
    wanted = Wanted(farm, device, options.accelerator or "", options.threads, options.run_as, options.shapes)
    key = options.resume or new_key()
    return DeviceBench(options.model, wanted, key, options.resume is not None, options.farms, options.catalog)


async def _run(bench: Any, told: _Told) -> tuple[Target, Measured]:
    from windtunnel.cli.local.device_bench import Watcher, bench_on_device

    def on_target(target: Target) -> None:
        told.target(target, bench.key, resume=bench.resume)

    return await bench_on_device(bench, Watcher(on_target, told.state, told.cancel))


class _Told:
    """Reports on standard error how far a measurement is.

    Args:
        options: of the command line.
    """

    def __init__(self, options: DeviceOptions) -> None:
        self._options = options
        self._said: tuple[str, ...] = ()
        self._submitted: Submitted | None = None

    def target(self, target: Target, key: str, *, resume: bool) -> None:
        """Says where it will run, what that may cost, and how to resume.

        Args:
            target: the device.
            key: of the farm run.
            resume: it was started before.
        """
        cell, cost = target.cell, target.estimate
        place = f"{cell.farm}: {target.device.title or target.device.name}, {cell.platform} {cell.os_version}"
        price = "free" if cost is None else f"expected to cost {_usd(cost)}"
        threads = "1 thread" if cell.threads == 1 else f"{cell.threads} threads"
        way = "as an app" if cell.run_as == "app" else "as an executable"
        say(f"{place}, {shown_accelerator(cell.accelerator)}, {threads}, {way}; {price}")
        if not resume and cell.farm_properties.platform != "host":
            say(f"farm run {key}; if this command is killed, collect it with:")
            say(f"  {self._resume_command(key)}")

    def state(self, submitted: Submitted, polled: Polled) -> None:
        """Says what is new of the farm run.

        Args:
            submitted: the farm run.
            polled: what the farm says.
        """
        self._submitted = submitted
        url = polled.url or submitted.url
        # The page is named once.
        new = (polled.phase.value, polled.words)
        if new != self._said:
            parts = [polled.words or polled.phase.value, *([url] if url and not self._said else [])]
            say(f"{self._options.device.partition('/')[0]}: {', '.join(parts)}")
            self._said = new

    def cancel(self) -> None:
        """Says that the farm run is canceled."""
        say("interrupted: canceling on the farm; another Ctrl-C leaves the farm run as it is")

    def left(self, key: str) -> None:
        """Says how to get at a farm run that this command leaves.

        Args:
            key: of the farm run.
        """
        if self._submitted is not None:
            say(f"farm run {self._submitted.id} may still run; collect it with:")
            say(f"  {self._resume_command(key)}")

    def _resume_command(self, key: str) -> str:
        options = self._options
        given = {
            "--device": options.device,
            "--accelerator": options.accelerator,
            "--threads": str(options.threads) if options.threads != 1 else None,
            "--run-as": options.run_as,
            "--farms": options.farms,
            "--catalog": options.catalog,
        }
        words = ["windtunnel", "bench", str(options.model)]
        words += [word for name, value in given.items() if value is not None for word in (name, str(value))]
        for name, sizes in options.shapes.items():
            words += ["--shape", f"{name}={','.join(map(str, sizes))}" if name else ",".join(map(str, sizes))]
        return shlex.join([*words, "--resume", key])


def _usd(micros: int) -> str:
    return f"${micros / 1e6:.2f}"
