"""What a base app says of itself, and what kind of app job it serves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AppKind(StrEnum):
    """How an app runs the benchmark."""

    # An activity that is started by an intent with arguments; on iOS: the app is opened.
    ACTIVITY = "activity"
    # A game loop of Firebase: scenarios by number.
    GAME_LOOP = "game_loop"
    # The second APK of an instrumentation, which runs inside the process of the first.
    INSTRUMENTATION = "instrumentation"
    # A bundle of tests that runs an app of iOS.
    XCTEST = "xctest"


@dataclass(frozen=True, slots=True)
class AppFacts:
    """What a base app says of itself.

    Attributes:
        kind: how it runs the benchmark.
        package_name: the package of Android, the bundle identifier of iOS.
        min_os: first version of the system that it runs on: the SDK level of Android, for example "24", or the version
            of iOS, for example "14.0"; empty: it does not say.
        abis: of its native code, for example ("arm64-v8a",); empty: it has none.
        runner: of an instrumentation, for example "androidx.test.runner.AndroidJUnitRunner"; empty: it is none.
        target_package: the package that an instrumentation tests; empty: it is none.
        scenarios: how many scenarios a game loop has; 0: it does not say.
    """

    kind: AppKind
    package_name: str
    min_os: str = ""
    abis: tuple[str, ...] = ()
    runner: str = ""
    target_package: str = ""
    scenarios: int = 0
