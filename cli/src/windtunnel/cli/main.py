"""The command group, and the one place that turns errors into exit codes.

Exit codes: 0 healthy or passed, 1 degraded, broken or failed, 2 could not run, 64 wrong usage, 130 interrupted,
141 the reader of the output has gone.
"""

from __future__ import annotations

import logging
import os
import signal
import sys

import click

from windtunnel.cli.commands.models import (
    arm,
    bench,
    build_app,
    convert,
    diagnose,
    diff,
    edge_log,
    kernels,
    layers,
    ops,
    parse_log,
    pipelines,
    quantize,
    remedy,
)
from windtunnel.cli.commands.runs import artifacts, cancel, compare, history, report, runs, submit, watch
from windtunnel.cli.commands.server import deadletters, demo, devices, plans, up
from windtunnel.cli.io.interrupts import ending_signals
from windtunnel.cli.io.os_errors import error_message, os_error_message
from windtunnel.cli.io.streams import ReaderGone, Unwritable, guard_streams, silence_output
from windtunnel.errors import WindtunnelError

log = logging.getLogger(__name__)

EXIT_COULD_NOT_RUN = 2
EXIT_USAGE = 64
EXIT_INTERRUPTED = 130
# Like tools that SIGPIPE kills.
EXIT_READER_GONE = 141


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="windtunnel-cli", prog_name="windtunnel")
def cli() -> None:
    """Tests trained models on real devices before users get them.

    Runs, which need services:

    \b
    windtunnel up --home ./wt                                  start everything, in one folder
    windtunnel submit model.keras --plan plan.yaml --wait      a model to its verdict
    windtunnel report RUN --html report.html                   the report as a page

    Model files on this machine:

    \b
    windtunnel diff a.tflite b.tflite --samples test.npz       two models, layer by layer
    windtunnel diagnose --model m.tflite --edge edge.npz        an app around its model
    windtunnel remedy a.tflite b.tflite --samples test.npz     a proven recipe that fixes b

    Shell completion: eval "$(_WINDTUNNEL_COMPLETE=bash_source windtunnel)"; also zsh_source and fish_source. It
    completes run ids, models, variants, stored plans and dead letters.
    """


_COMMANDS = (
    up.up,
    up.status,
    submit.submit,
    watch.watch,
    report.report,
    runs.runs,
    cancel.cancel,
    artifacts.artifacts,
    compare.compare,
    history.history,
    plans.plans,
    devices.devices,
    deadletters.deadletters,
    demo.demo,
    diff.diff,
    diagnose.diagnose,
    layers.layers,
    edge_log.log,
    pipelines.pipelines,
    parse_log.parse_log,
    bench.bench,
    build_app.build_app,
    convert.convert,
    quantize.quantize,
    remedy.remedy,
    ops.ops,
    kernels.kernels,
    arm.arm,
)
for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Runs the command line. WINDTUNNEL_DEBUG=1 shows the traceback of an unexpected error."""
    # gRPC's messages about forks and closed connections do not help the user.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    guard_streams()
    try:
        code = _run()
        if sys.stdout is not None:
            # The rest of the output is written here, where a failure can still be reported.
            sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        # A second signal has nothing left to interrupt.
        for number in ending_signals():
            signal.signal(number, signal.SIG_IGN)
        silence_output()
        click.echo("interrupted", err=True)
        code = EXIT_INTERRUPTED
    except ReaderGone:
        silence_output()
        code = EXIT_READER_GONE
    except Unwritable as error:
        silence_output()
        _print_error(str(error), "check that the disk or device has room")
        code = EXIT_COULD_NOT_RUN
    sys.exit(code)


def _run() -> int:
    try:
        # A command returns its exit code; click's own ways out (--help) return 0.
        result = cli.main(standalone_mode=False)
        return result if isinstance(result, int) else 0
    except (click.Abort, ReaderGone, Unwritable):
        raise
    except click.UsageError as error:
        error.show()
        return EXIT_USAGE
    except click.ClickException as error:
        error.show()
        return EXIT_COULD_NOT_RUN
    except WindtunnelError as error:
        _print_error(*error_message(error))
    except Exception as error:
        unforeseen = f"{type(error).__name__}: {error}", "WINDTUNNEL_DEBUG=1 shows where"
        _print_error(*(os_error_message(error) if isinstance(error, OSError) else unforeseen))
        if os.environ.get("WINDTUNNEL_DEBUG"):
            log.exception("the command failed")
    # Exit code 1 would say that the model has failed.
    return EXIT_COULD_NOT_RUN


def _print_error(message: str, hint: str) -> None:
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint:  {hint}", err=True)
