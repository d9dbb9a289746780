"""What adb, the package manager and the shell say, and which kind of failure that is."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Final

from windtunnel.errors import FarmError
from windtunnel.farms.failure_kinds import FailureKind

INFRASTRUCTURE, TEST, DEVICE = FailureKind.INFRASTRUCTURE, FailureKind.TEST, FailureKind.DEVICE
OTHER = FailureKind.OTHER


@dataclass(frozen=True, slots=True)
class AdbWords:
    """Words in a refusal of adb, its kind, whether asking again may help, and what a person can do."""

    words: str
    kind: FailureKind
    retryable: bool
    hint: str = ""


# The first row whose words are there counts.
ADB_WORDS: Final = (
    AdbWords("unauthorized", DEVICE, False, "unlock the phone and allow USB debugging for this computer"),
    AdbWords("authorizing", DEVICE, True, "unlock the phone and allow USB debugging for this computer"),
    AdbWords("no permissions", DEVICE, False, "add a udev rule for the phone, then run: adb kill-server"),
    AdbWords("offline", DEVICE, True, "plug the phone in again"),
    AdbWords("no space left", DEVICE, False, "free storage on the phone"),
    AdbWords("read-only file system", DEVICE, False, "the phone's storage is broken; restart the phone"),
    AdbWords("permission denied", DEVICE, False, "the shell of the phone may not write to /data/local/tmp"),
    AdbWords("not found", INFRASTRUCTURE, True, "is the phone attached? see: adb devices"),
    AdbWords("closed", INFRASTRUCTURE, True),
    AdbWords("", INFRASTRUCTURE, True),
)

# https://developer.android.com/reference/android/content/pm/PackageInstaller and its PackageManager: a code that is
# not here is a fault of the app as far as it begins with INSTALL_PARSE_FAILED, otherwise OTHER.
INSTALL_CODES: Final = {
    "INSTALL_FAILED_INSUFFICIENT_STORAGE": DEVICE,
    "INSTALL_FAILED_NO_MATCHING_ABIS": DEVICE,
    "INSTALL_FAILED_CPU_ABI_INCOMPATIBLE": DEVICE,
    "INSTALL_FAILED_OLDER_SDK": DEVICE,
    "INSTALL_FAILED_NEWER_SDK": DEVICE,
    "INSTALL_FAILED_DEPRECATED_SDK_VERSION": DEVICE,
    "INSTALL_FAILED_MISSING_FEATURE": DEVICE,
    "INSTALL_FAILED_MISSING_SHARED_LIBRARY": DEVICE,
    "INSTALL_FAILED_MEDIA_UNAVAILABLE": DEVICE,
    "INSTALL_FAILED_CONTAINER_ERROR": DEVICE,
    # The person at the phone, or its maker's settings, forbid installing through USB.
    "INSTALL_FAILED_USER_RESTRICTED": DEVICE,
    "INSTALL_FAILED_ABORTED": DEVICE,
    # A scan of the phone's maker refuses the app.
    "INSTALL_FAILED_VERIFICATION_FAILURE": DEVICE,
    "INSTALL_FAILED_VERIFICATION_TIMEOUT": INFRASTRUCTURE,
    "INSTALL_FAILED_INTERNAL_ERROR": INFRASTRUCTURE,
    "INSTALL_FAILED_DEXOPT": TEST,
    # Both are tried again after the app there is removed; what is left is one that cannot be removed.
    "INSTALL_FAILED_UPDATE_INCOMPATIBLE": DEVICE,
    "INSTALL_FAILED_VERSION_DOWNGRADE": DEVICE,
    "INSTALL_FAILED_ALREADY_EXISTS": DEVICE,
    "INSTALL_FAILED_SHARED_USER_INCOMPATIBLE": DEVICE,
    "INSTALL_FAILED_CONFLICTING_PROVIDER": DEVICE,
    "INSTALL_FAILED_DUPLICATE_PERMISSION": DEVICE,
    "INSTALL_FAILED_INVALID_APK": TEST,
    "INSTALL_FAILED_TEST_ONLY": TEST,
    "INSTALL_FAILED_MISSING_SPLIT": TEST,
    "INSTALL_FAILED_INVALID_URI": INFRASTRUCTURE,
}
_PARSE: Final = "INSTALL_PARSE_FAILED"

# What the shell and the loader say of a program that this phone cannot start.
LOADER_WORDS: Final = (
    "not executable: ",
    "Exec format error",
    "CANNOT LINK EXECUTABLE",
    "inaccessible or not found",
    "has text relocations",
    "only position independent executables",
)
# Words in the log of the system if memory ran out.
MEMORY_WORDS: Final = ("lowmemorykiller", "lmkd", "Out of memory", "std::bad_alloc", "OutOfMemoryError")


def farm_error(serial: str, said: str) -> FarmError:
    """What a refusal of adb means.

    Args:
        serial: of the phone.
        said: by adb.

    Returns:
        The error.
    """
    row = next(row for row in ADB_WORDS if row.words in said.lower())
    return FarmError(f"phone {serial}: {said}", retryable=row.retryable, hint=row.hint, kind=row.kind)


def install_kind(said: str) -> tuple[str, FailureKind]:
    """What the package manager's refusal means.

    Args:
        said: "Failure [INSTALL_FAILED_...: ...]".

    Returns:
        Its code, empty if there is none, and the kind.
    """
    code = next(
        (part for part in said.replace("[", " ").replace("]", " ").replace(":", " ").split() if _is_code(part)), ""
    )
    if code.startswith(_PARSE):
        return code, TEST
    return code, INSTALL_CODES.get(code, OTHER)


def _is_code(word: str) -> bool:
    return word.startswith("INSTALL_")


def signal_name(status: int) -> str:
    """The signal that ended a process.

    Args:
        status: as the shell gives it.

    Returns:
        Empty: no signal did.
    """
    if status <= 128:
        return ""
    try:
        return signal.Signals(status - 128).name
    except ValueError:
        return ""
