"""The command group, and the one place that turns errors into exit codes.

Exit codes: 0 healthy or passed, 1 degraded, broken or failed, 2 could not run, 64 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import io
import logging
import os
import sys

import click

from windtunnel.cli import (
    deadletters,
    demo,
    devices,
    diff,
    kernels,
    layers,
    offline,
    ops,
    plans,
    remedy,
    runs,
    submit,
    up,
)
from windtunnel.errors import WindtunnelError

log = logging.getLogger(__name__)

EXIT_COULD_NOT_RUN = 2
EXIT_USAGE = 64
EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="windtunnel-cli", prog_name="windtunnel")
def cli() -> None:
    """Tests trained models on real devices before users meet them.

    \b
    windtunnel up --home ./wt                                  start everything, in one folder
    windtunnel submit model.keras --plan plan.yaml --wait      a model to its verdict
    windtunnel report RUN --html report.html                   the evidence
    windtunnel diff a.tflite b.tflite --samples test.npz       two models, layer by layer; needs no server
    windtunnel remedy a.tflite b.tflite --samples test.npz     a recipe that mends b, proven

    Shell completion: eval "$(_WINDTUNNEL_COMPLETE=bash_source windtunnel)", likewise zsh_source and fish_source.
    """


_COMMANDS = (
    up.up,
    up.status,
    submit.submit,
    submit.watch,
    runs.report,
    runs.runs,
    plans.plans,
    devices.devices,
    deadletters.deadletters,
    demo.demo,
    diff.diff,
    layers.layers,
    *offline.commands,
    remedy.remedy,
    ops.ops,
    *kernels.commands,
)
for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Runs the command line. WINDTUNNEL_DEBUG=1 shows the traceback of an error that nobody foresaw."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8 must not end a run by a character of its report.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        # A command returns its exit code; click's own ways out (--help) return 0.
        result = cli.main(standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except click.UsageError as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_COULD_NOT_RUN)
    except WindtunnelError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"hint:  {error.hint}", err=True)
        sys.exit(EXIT_COULD_NOT_RUN)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not complain while it flushes.
        sys.stderr.close()
        sys.exit(EXIT_COULD_NOT_RUN)
    except Exception as error:
        # Exit code 1 would say that the model has failed.
        click.echo(f"error: {type(error).__name__}: {error}", err=True)
        if os.environ.get("WINDTUNNEL_DEBUG"):
            log.exception("the command failed")
        else:
            click.echo("hint:  WINDTUNNEL_DEBUG=1 shows where", err=True)
        sys.exit(EXIT_COULD_NOT_RUN)
