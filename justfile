# `just` lists the recipes. ./demo and ./test need nothing installed; these run in the environment that they make.

set shell := ["bash", "-euc"]
export PATH := justfile_directory() / ".venv/bin:" + env("PATH")

# Lists the recipes.
default:
    @just --list

# Everything that must hold before a change lands.
check *ARGS:
    tools/check {{ARGS}}

# Formats the code and fixes what ruff can fix.
format:
    ruff format .
    ruff check --fix .

# Regenerates code from the contracts, JSON Schemas from the models of documents, and pages of metrics and thresholds.
generate:
    proto/generate
    python tools/asyncapi.py > docs/asyncapi.yaml
    python tools/generate_schemas.py
    python tools/metrics_table.py > docs/metrics.md
    python tools/thresholds_table.py > docs/thresholds.md

# Freezes the contracts of today as released; `check` compares later contracts with them.
release-contracts:
    buf build proto -o proto/released.binpb

# Runs all benchmarks and prints their tables.
bench:
    for file in benchmarks/*.py; do echo "== $file"; python "$file"; done

# Starts everything in ./var/home.
up:
    windtunnel up --home var/home

# Checks the wording of paths; without paths, of everything that must be clean.
prose *PATHS:
    tools/prose {{PATHS}}

# Builds the documentation site into build/site; `just docs serve` shows it on a local port.
docs COMMAND="build":
    NO_MKDOCS_2_WARNING=1 mkdocs {{COMMAND}} --strict
