"""CodeResources: the list of a bundle's files and their hashes, which its code signature binds.

The rules are those that Xcode writes for apps of iOS, whose bundles are flat.
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

NAME: Final = "_CodeSignature/CodeResources"
_RULES: Final[Mapping[str, Any]] = {
    "^.*": True,
    "^.*\\.lproj/": {"optional": True, "weight": 1000.0},
    "^.*\\.lproj/locversion.plist$": {"omit": True, "weight": 1100.0},
    "^Base\\.lproj/": {"weight": 1010.0},
    "^version.plist$": True,
}
_RULES_2: Final[Mapping[str, Any]] = {
    ".*\\.dSYM($|/)": {"weight": 11.0},
    "^(.*/)?\\.DS_Store$": {"omit": True, "weight": 2000.0},
    "^.*": True,
    "^.*\\.lproj/": {"optional": True, "weight": 1000.0},
    "^.*\\.lproj/locversion.plist$": {"omit": True, "weight": 1100.0},
    "^Base\\.lproj/": {"weight": 1010.0},
    "^Info\\.plist$": {"omit": True, "weight": 20.0},
    "^PkgInfo$": {"omit": True, "weight": 20.0},
    "^embedded\\.provisionprofile$": {"weight": 20.0},
    "^version\\.plist$": {"weight": 20.0},
}


@dataclass(frozen=True, slots=True)
class FileHashes:
    """A file of a bundle: its path in it, and its hashes."""

    path: str
    sha1: bytes
    sha256: bytes


def code_resources(files: Iterable[FileHashes], executable: str) -> bytes:
    """The property list.

    Args:
        files: of the bundle.
        executable: path of its program: the signature binds it by itself.

    Returns:
        XML.
    """
    listed = [file for file in sorted(files, key=lambda file: file.path) if file.path not in (NAME, executable)]
    first = {file.path: _entry(file, _RULES, file.sha1) for file in listed}
    second = {file.path: _entry(file, _RULES_2, {"hash2": file.sha256}) for file in listed}
    document = {
        "files": {path: value for path, value in first.items() if value is not None},
        "files2": {path: value for path, value in second.items() if value is not None},
        "rules": dict(_RULES),
        "rules2": dict(_RULES_2),
    }
    return plistlib.dumps(document)


def _entry(file: FileHashes, rules: Mapping[str, Any], plain: Any) -> Any:
    """What the list says of a file by the heaviest rule that fits; None: the rule leaves it out."""
    fitting = (rule for pattern, rule in rules.items() if re.match(pattern, file.path))
    rule = max(fitting, key=lambda rule: 1.0 if rule is True else rule.get("weight", 1.0))
    if rule is True or not (rule.get("omit") or rule.get("optional")):
        return plain
    if rule.get("omit"):
        return None
    return {**(plain if isinstance(plain, dict) else {"hash": plain}), "optional": True}
