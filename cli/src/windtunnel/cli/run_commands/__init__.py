"""Commands on runs that exist: ending them, fetching what they made, comparing them."""

from windtunnel.cli.run_commands.artifacts import artifacts
from windtunnel.cli.run_commands.cancel import cancel
from windtunnel.cli.run_commands.compare import compare
from windtunnel.cli.run_commands.history import history

commands = (cancel, artifacts, compare, history)
