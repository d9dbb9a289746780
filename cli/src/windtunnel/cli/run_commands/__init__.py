"""Commands on runs that exist: ending them, fetching what they made, comparing them."""

from windtunnel.cli.run_commands.artifacts import artifacts
from windtunnel.cli.run_commands.cancel import cancel

commands = (cancel, artifacts)
