"""The package manager: pm and `cmd package`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

from support.farm_peers.phone.apk.package import Package, Refused, check_fits, read_package
from support.farm_peers.phone.calls import Call, Command
from support.farm_peers.phone.state import PhoneState
from support.farm_peers.phone.system_root import inside


class PackageCommands:
    """The commands over the installed packages. `stop` ends an app's processes."""

    def __init__(self, root: Path, state: PhoneState, stop: Callable[[str], None]) -> None:
        self._root = root
        self._state = state
        self._stop = stop
        self.installed: dict[str, Package] = {}

    def table(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {"pm": lambda call: self.run(call, call.arguments[1:])}

    def run(self, call: Call, words: list[str]) -> int:
        """`pm WORDS` or `cmd package WORDS`."""
        verb, rest = (words[0], words[1:]) if words else ("", [])
        known: dict[str, Callable[[Call, list[str]], int]] = {
            "install": self._install,
            "uninstall": self._uninstall,
            "path": self._path,
            "list": self._list,
            "clear": lambda call, words: self._said(call, "Success"),
            "grant": lambda call, words: 0,
        }
        if verb not in known:
            call.err(f"Unknown command: {verb}\n")
            return 255
        return known[verb](call, rest)

    def _said(self, call: Call, text: str, status: int = 0) -> int:
        call.out(f"{text}\n")
        return status

    def _install(self, call: Call, words: list[str]) -> int:
        size = next((int(value) for flag, value in itertools.pairwise(words) if flag == "-S"), None)
        try:
            data = call.read(size) if size is not None else inside(self._root, call.path(words[-1])).read_bytes()
            if size is not None and len(data) != size:
                raise Refused("INSTALL_PARSE_FAILED_NOT_APK", "Failed to parse base.apk")
            self._accept(data, words)
        except FileNotFoundError:
            return self._said(call, f"Failure [INSTALL_FAILED_INVALID_URI: {words[-1]}]", 1)
        except Refused as error:
            return self._said(call, f"Failure [{error}]", 1)
        return self._said(call, "Success")

    def _accept(self, data: bytes, words: list[str]) -> None:
        if self._state.faults.install:
            raise Refused(*self._state.faults.install.split(": ", 1))
        package = read_package(data, self._state.sdk)
        check_fits(
            package,
            sdk=self._state.sdk,
            abis=self._state.properties["ro.product.cpu.abilist"].split(","),
            free_bytes=self._state.free_bytes,
            flags=words,
            older=self.installed.get(package.name),
        )
        self._stop(package.name)
        self.installed[package.name] = package

    def _uninstall(self, call: Call, words: list[str]) -> int:
        name = words[-1] if words else ""
        if name not in self.installed:
            return self._said(call, "Failure [DELETE_FAILED_INTERNAL_ERROR]", 1)
        self._stop(name)
        del self.installed[name]
        return self._said(call, "Success")

    def _path(self, call: Call, words: list[str]) -> int:
        if words[-1] not in self.installed:
            return 1
        return self._said(call, f"package:/data/app/~~h0J8Zg==/{words[-1]}-x1Qw==/base.apk")

    def _list(self, call: Call, words: list[str]) -> int:
        if words[:1] == ["instrumentation"]:
            runners = [(one.name, *pair) for one in self.installed.values() for pair in one.instrumentation]
            call.out(
                "".join(f"instrumentation:{name}/{runner} (target={target})\n" for name, runner, target in runners)
            )
        if words[:1] == ["packages"]:
            wanted = words[-1] if len(words) > 1 and not words[-1].startswith("-") else ""
            call.out("".join(f"package:{name}\n" for name in self.installed if wanted in name))
        return 0
