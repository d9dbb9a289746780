"""iOS: files go into the app inside an IPA; the app is signed again, or left for the farm to sign.

Everything that is not code and not part of the old signature stays as it is, byte for byte.
"""

from __future__ import annotations

import datetime
import hashlib
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from windtunnel.app_builder.adapters.archive.zipfile_read import Entry, contents, read_directory, read_entry
from windtunnel.app_builder.adapters.archive.zipfile_write import UNIX, ZipWriter
from windtunnel.app_builder.adapters.ios import code_resources, macho
from windtunnel.app_builder.adapters.ios.base_ipa import MAX_BINARY, BaseIpa, inspect, read_info
from windtunnel.app_builder.adapters.ios.code_resources import FileHashes
from windtunnel.app_builder.adapters.ios.code_signature import Identity, Sealed, signature
from windtunnel.app_builder.adapters.ios.provisioning import IosSigner
from windtunnel.app_builder.domain.base_apps import AppFacts
from windtunnel.errors import InvalidInput, Unsupported

_PROFILE: Final = "embedded.mobileprovision"
# What the Finder of a Mac adds to archives: it belongs to no app.
_FINDER: Final = "__MACOSX/"
_SIGNATURE_FOLDER: Final = "_CodeSignature/"
# Bundles inside an app that are signed like it; extensions need a profile of their own.
_BUNDLES: Final = (".framework", ".xctest")
_EXTENSIONS: Final = (".appex", ".app")
_PLAIN, _PROGRAM = 0o644, 0o755


@dataclass(frozen=True, slots=True)
class AddedFile:
    """A file that goes into the app: its path there, and its bytes in pieces; they can be read again."""

    path: str
    data: Callable[[], Iterator[bytes]]


def write_ipa(
    base: BinaryIO, label: str, added: Callable[[BaseIpa, Iterable[str]], Sequence[AddedFile]],
    signer: IosSigner | None, output: BinaryIO,
) -> AppFacts:  # fmt: skip
    """Writes the IPA into an empty file.

    Args:
        base: the base IPA, open for reading.
        label: names the base IPA in messages.
        added: given what the base is and the paths in its app, the files that go into the app; they replace files of
            the same paths.
        signer: signs; None: the app has no valid signature until the farm signs it.
        output: empty, open for reading and writing.

    Returns:
        What the base app says of itself.

    Raises:
        InvalidInput: `base` is not an IPA that can be used, or the profile is for another app.
        Unsupported: it is encrypted, or has extensions and is to be signed.
    """
    entries = read_directory(base, label)
    ipa = inspect(base, entries, label)
    app = _App(base, label, ipa, entries)
    app.add(added(ipa, app.paths()))
    if signer is not None:
        _sign(app, signer)
    app.write(ZipWriter(output))
    return ipa.facts


class _App:
    # The app inside an IPA while it is changed: entries of the base, and what replaces or joins them.

    def __init__(self, base: BinaryIO, label: str, ipa: BaseIpa, entries: Sequence[Entry]) -> None:
        self.base, self.label, self.ipa = base, label, ipa
        left_out = (f"{ipa.root}{_SIGNATURE_FOLDER}", _FINDER)
        self._entries = [entry for entry in entries if not entry.text.startswith(left_out)]
        self._held = {entry.text.removeprefix(ipa.root): entry for entry in self._inside()}
        self._added: dict[str, Callable[[], Iterator[bytes]]] = {}

    def _inside(self) -> Iterator[Entry]:
        return (one for one in self._entries if one.text.startswith(self.ipa.root) and not one.text.endswith("/"))

    def paths(self) -> list[str]:
        # Of all files of the app.
        return sorted({*self._held, *self._added})

    def add(self, files: Iterable[AddedFile]) -> None:
        for file in files:
            self._added[file.path] = file.data

    def put(self, path: str, data: bytes) -> None:
        self._added[path] = lambda: iter((data,))

    def pieces(self, path: str) -> Iterator[bytes]:
        # A file's bytes, as they are now.
        return self._added[path]() if path in self._added else contents(self.base, self._held[path], self.label)

    def read(self, path: str) -> bytes:
        if path in self._added:
            return b"".join(self._added[path]())
        return read_entry(self.base, self._held[path], self.label, MAX_BINARY)

    def start(self, path: str) -> bytes:
        return next(iter(self.pieces(path)), b"")[:8]

    def write(self, writer: ZipWriter) -> None:
        # Entries in their order, then what is new.
        programs = {f"{self.ipa.root}{self.ipa.executable}"}
        for entry in self._entries:
            path = entry.text.removeprefix(self.ipa.root)
            if entry.text.startswith(self.ipa.root) and path in self._added:
                continue
            for _ in contents(self.base, entry, self.label):
                pass
            writer.copy(self.base, _with_mode(entry, program=entry.text in programs), 1)
        for path, data in self._added.items():
            old = self._held.get(path)
            mode = _mode(old) if old is not None else _PLAIN
            if path == self.ipa.executable:
                mode = _PROGRAM
            writer.store(f"{self.ipa.root}{path}", data(), 1, mode or _PLAIN)
        writer.close()


def _mode(entry: Entry) -> int:
    """Permissions of an entry; 0: it states none, as those of Windows."""
    return stat.S_IMODE(entry.external >> 16) if entry.made_by >> 8 == UNIX else 0


def _with_mode(entry: Entry, *, program: bool) -> Entry:
    """The entry with permissions with which an app can be read and its program run."""
    folder = entry.text.endswith("/")
    mode = _mode(entry)
    wanted = mode | _PROGRAM if program else mode or (_PROGRAM if folder else _PLAIN)
    if mode == wanted:
        return entry
    kind = stat.S_IFDIR if folder else stat.S_IFREG
    made_by = UNIX << 8 | (entry.made_by & 0xFF)
    return replace(entry, made_by=made_by, external=(kind | wanted) << 16 | (entry.external & 0xFF))


def _sign(app: _App, signer: IosSigner) -> None:
    """Signs all code of the app: what is deepest first, because the hashes of its files are part of what is above.

    Raises:
        InvalidInput: the profile is for another app, or code cannot be signed.
        Unsupported: there is an extension.
    """
    extension = next((path for path in app.paths() if _within(path, _EXTENSIONS)), None)
    if extension is not None:
        raise Unsupported(
            f"base app {app.label}: {extension.split('/')[0]} holds an extension or another app, which needs a profile "
            "of its own",
            hint="build the benchmark app without extensions, or leave it unsigned for a farm that signs",
        )
    app.put(_PROFILE, signer.profile.data)
    identity = Identity(signer.signer, signer.profile.team, datetime.datetime.now(datetime.UTC))
    entitlements = signer.entitlements(app.ipa.facts.package_name)
    bundles = _bundles(app)
    programs = {f"{folder}{name}" for folder, name in bundles.items()}
    for path in [path for path in app.paths() if path not in programs and macho.is_macho(app.start(path))]:
        _sign_file(app, path, Sealed(path.rsplit("/", 1)[-1]), identity)
    for folder in sorted(bundles, key=lambda folder: (-folder.count("/"), folder)):
        _sign_bundle(app, folder, bundles[folder], identity, entitlements if not folder else None)


def _within(path: str, suffixes: tuple[str, ...]) -> bool:
    return any(part.endswith(suffixes) for part in path.split("/")[:-1])


def _bundles(app: _App) -> dict[str, str]:
    """The bundles with code, by folder ("" is the app's own), with the name of the program of each."""
    found = {"": app.ipa.executable}
    for path in app.paths():
        folder, _, name = path.rpartition("/")
        if name == "Info.plist" and folder.endswith(_BUNDLES):
            info = read_info(app.read(path), f"base app {app.label}: {path}")
            executable = str(info.get("CFBundleExecutable", ""))
            if executable and f"{folder}/{executable}" in app.paths():
                found[f"{folder}/"] = executable
    return found


def _sign_bundle(
    app: _App, folder: str, executable: str, identity: Identity, entitlements: dict[str, object] | None
) -> None:
    inside = [path for path in app.paths() if path.startswith(folder)]
    old = f"{folder}{code_resources.NAME}"
    hashes = [_hashes(app, path, path.removeprefix(folder)) for path in inside if path != old]
    resources = code_resources.code_resources(hashes, executable)
    app.put(old, resources)
    info = app.read(f"{folder}Info.plist")
    stated = read_info(info, f"base app {app.label}: {folder}Info.plist")
    identifier = str(stated.get("CFBundleIdentifier") or executable)
    _sign_file(app, f"{folder}{executable}", Sealed(identifier, info, resources, entitlements), identity)


def _sign_file(app: _App, path: str, sealed: Sealed, identity: Identity) -> None:
    try:
        app.put(path, macho.signed(app.read(path), lambda part, code: signature(part, code, sealed, identity)))
    except (macho.NotMachO, ValueError) as error:
        raise InvalidInput(
            f"base app {app.label}: {path!r} cannot be signed: {error}",
            hint="build the app again with Xcode, or leave it unsigned for a farm that signs",
        ) from error


def _hashes(app: _App, path: str, name: str) -> FileHashes:
    sha1, sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    for piece in app.pieces(path):
        sha1.update(piece)
        sha256.update(piece)
    return FileHashes(name, sha1.digest(), sha256.digest())
