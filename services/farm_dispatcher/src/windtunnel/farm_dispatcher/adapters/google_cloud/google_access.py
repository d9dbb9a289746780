"""Credentials for Google's services, and for emulators of them."""

from __future__ import annotations

import importlib.util
import ipaddress
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from windtunnel.errors import FarmError
from windtunnel.service.settings import InvalidSetting

_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


def require_installed(farm: str, modules: Sequence[str]) -> None:
    """Refuses to open a farm whose libraries are not installed.

    Args:
        farm: its name.
        modules: that it needs.

    Raises:
        InvalidSetting: one is missing.
    """
    missing = [module for module in modules if not _is_installed(module)]
    if missing:
        raise InvalidSetting(
            f"farm {farm!r} needs {missing[0]}, which is not installed",
            hint="pip install 'windtunnel-farm-dispatcher[firebase]'",
        )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine.

    Args:
        url: with a scheme.

    Returns:
        False: it is elsewhere.
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_credentials(endpoint: str, project: str) -> Any:
    """The credentials for an address. May ask the network: not for the event loop.

    Args:
        endpoint: of an emulator; empty: Google's own.
        project: that the requests count for.

    Returns:
        None for an emulator on this machine; else Google application default credentials.

    Raises:
        FarmError: there are none.
    """
    if endpoint and is_loopback(endpoint):
        return None
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        credentials, _ = google.auth.default(scopes=_SCOPES, quota_project_id=project)
    except DefaultCredentialsError as error:
        raise FarmError(
            f"there are no credentials for Google Cloud: {str(error).splitlines()[0]}",
            retryable=False,
            hint="run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
        ) from error
    return credentials
