"""Credentials for Google's services, and for emulators of them."""

from __future__ import annotations

from typing import Any, Final

import google.auth
from google.auth.exceptions import DefaultCredentialsError

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.domain.addresses import is_loopback

_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


def find_credentials(endpoint: str, project: str) -> Any:
    """The credentials for an address. May ask the network: not for the event loop.

    Args:
        endpoint: of an emulator; empty: Google's own.
        project: that the requests count for.

    Returns:
        None for an emulator on this machine; otherwise Google application default credentials.

    Raises:
        FarmError: there are none.
    """
    if endpoint and is_loopback(endpoint):
        return None
    try:
        credentials, _ = google.auth.default(scopes=_SCOPES, quota_project_id=project)
    except DefaultCredentialsError as error:
        raise FarmError(
            f"there are no credentials for Google Cloud: {str(error).splitlines()[0]}",
            retryable=False,
            hint="run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
        ) from error
    return credentials
