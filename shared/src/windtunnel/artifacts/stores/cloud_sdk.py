"""The cloud SDKs are an extra of the installation, imported only for their own scheme."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from windtunnel.errors import Unsupported


@contextlib.contextmanager
def needs_sdk(scheme: str) -> Iterator[None]:
    """Around the import of an adapter.

    Args:
        scheme: of the URI, for the message.

    Yields:
        Nothing.

    Raises:
        Unsupported: its SDK is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"{scheme}:// needs the package {error.name}, which is not installed",
            hint="pip install 'windtunnel-shared[cloud]'",
        ) from error
