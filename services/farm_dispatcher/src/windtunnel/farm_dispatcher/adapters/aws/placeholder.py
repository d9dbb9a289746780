"""The app of a run that needs none: Device Farm wants one in the app slot of a test of type APPIUM_PYTHON."""

from __future__ import annotations

from importlib import resources


def placeholder_app() -> bytes:
    """An APK without code, signed with a key of nobody: it installs, and nothing starts it.

    Returns:
        A signed zip with nothing but a manifest.
    """
    return (resources.files(__package__) / "placeholder.apk").read_bytes()
