"""What the GCS SDK raises, as the project's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from google.api_core.exceptions import Forbidden, GoogleAPICallError, RetryError, Unauthorized
from google.api_core.exceptions import NotFound as Missing
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

from windtunnel.errors import NotFound, Unavailable


@contextmanager
def speaking_gcs(what: str) -> Iterator[None]:
    """Turns what the SDK raises into the project's errors.

    Args:
        what: what failed, for messages.

    Yields:
        Nothing.

    Raises:
        NotFound: the bucket or object does not exist.
        Unavailable: access is denied, or the service does not answer.
    """
    try:
        yield
    except Missing as error:
        raise NotFound(f"{what}: it does not exist") from error
    except (Forbidden, Unauthorized, DefaultCredentialsError) as error:
        hint = "set GOOGLE_APPLICATION_CREDENTIALS, or grant the account access to the bucket"
        raise Unavailable(f"{what}: {type(error).__name__}", retryable=False, hint=hint) from error
    except (GoogleAPICallError, RetryError, GoogleAuthError, requests.RequestException, OSError) as error:
        raise Unavailable(f"{what}: {type(error).__name__}: {error}") from error
