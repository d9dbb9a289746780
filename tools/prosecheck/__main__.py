"""Checks wording. Prints `file:line: rule: found -> say instead`; exit code 1 if it finds something."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prosecheck import markdown, plain, python_source
from prosecheck.passages import Passage
from prosecheck.rules import Finding, Rules, load, matches

ROOT = Path(__file__).parents[2]
RULE_FILE = ROOT / "tools/prose_rules.toml"

_READERS: dict[str, Callable[[str], Iterator[Passage]]] = {
    ".md": markdown.passages,
    ".py": python_source.passages,
    ".yaml": plain.hash_comments,
    ".yml": plain.hash_comments,
    ".toml": plain.hash_comments,
    ".env": plain.hash_comments,
    ".proto": plain.slash_comments,
    ".html": plain.templates,
    ".j2": plain.templates,
    ".jinja": plain.templates,
}
_SCRIPTS = ("Dockerfile", "justfile")


def main(arguments: list[str] | None = None) -> int:
    """Runs the check.

    Args:
        arguments: of the command line; those of the process if absent.

    Returns:
        The exit code: 0 if nothing was found, 1 if something was, 2 if a path does not exist.
    """
    parser = argparse.ArgumentParser(prog="tools/prose", description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="files and folders; default: the `clean` list of the rules")
    parser.add_argument("--count", action="store_true", help="print the number of findings per folder; default: of all")
    options = parser.parse_args(arguments)
    rules = load(RULE_FILE)
    chosen = [path.resolve() for path in options.paths] or ([] if options.count else [ROOT / p for p in rules.clean])
    if missing := [str(path) for path in chosen if not path.exists()]:
        print(f"no such file or folder: {', '.join(missing)}", file=sys.stderr)
        return 2
    found = [(path, one) for path in files(chosen, rules) for one in check(path, rules)]
    if options.count:
        print(_counts(path for path, _ in found))
        return 0
    for path, one in found:
        print(f"{path}:{one.line}: {one.rule}: {one.found} -> {one.say}")
    return 1 if found else 0


def files(chosen: Iterable[Path], rules: Rules) -> list[str]:
    """The files to read.

    Args:
        chosen: absolute paths of files and folders; none: the whole repository.
        rules: say what is skipped.

    Returns:
        Paths relative to the repository, sorted: of folders, the files that git tracks or would add.
    """
    below = tuple(path.relative_to(ROOT).as_posix() for path in chosen)
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = (path for path in tracked if not below or "." in below or matches(path, below))
    return sorted({p for p in wanted if not matches(p, rules.skipped) and (ROOT / p).is_file() and reader(ROOT / p)})


def check(path: str, rules: Rules) -> list[Finding]:
    """What is wrong in one file.

    Args:
        path: of the file, relative to the repository.
        rules: to hold it to.

    Returns:
        The findings by line.
    """
    read = reader(ROOT / path)
    text = (ROOT / path).read_text(encoding="utf-8")
    found = (one for passage in (read(text) if read else ()) for one in rules.find(passage, path))
    return sorted(found, key=lambda one: one.line)


def reader(path: Path) -> Callable[[str], Iterator[Passage]] | None:
    """What splits a file into passages.

    Args:
        path: of the file; its name decides, or whether it begins as a script does.

    Returns:
        A function from its text to passages; None if such a file is not read.
    """
    if path.suffix in _READERS:
        return _READERS[path.suffix]
    if path.name in _SCRIPTS or path.suffix == ".sh" or (not path.suffix and _is_script(path)):
        return plain.hash_comments
    return None


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in (b"#!", b"# ")


def _counts(paths: Iterable[str]) -> str:
    counts = Counter(_room(path) for path in paths)
    rows = [f"{count:6}  {room}" for room, count in counts.most_common()]
    return "\n".join([*rows, f"{sum(counts.values()):6}  all"])


def _room(path: str) -> str:
    """The folder that a count is of: a package, a folder of tests, or the first folder of the repository."""
    parts = path.split("/")[:-1]
    if "windtunnel" in parts:
        return "/".join(parts[: parts.index("windtunnel") + 3])
    return "/".join(parts[:3]) or path


if __name__ == "__main__":
    sys.exit(main())
