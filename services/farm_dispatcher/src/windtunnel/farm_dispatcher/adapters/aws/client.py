"""Calls of AWS Device Farm: in a thread, with a deadline, spaced out when the service throttles, errors translated."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.aws.failures import refusal_of
from windtunnel.farm_dispatcher.adapters.aws.pace import Pace
from windtunnel.farm_dispatcher.domain.addresses import is_loopback
from windtunnel.farms.failure_kinds import FailureKind

log = logging.getLogger(__name__)
# Of one call. Reading and connecting have shorter limits of their own in `open_client`.
_CALL_S: Final = 120.0
_ATTEMPTS: Final = 4
_THREADS: Final = 8
T = TypeVar("T")


class RefusedCall(FarmError):
    """A call that the service refused. `service_code` is its own word for it.

    Args:
        message: what happened.
        service_code: of the service.
        retryable: whether another try may succeed.
        hint: what to do.
        kind: of the failure.
    """

    def __init__(self, message: str, service_code: str, *, retryable: bool, hint: str, kind: str) -> None:
        super().__init__(message, retryable=retryable, hint=hint, kind=kind)
        self.service_code = service_code


class LostAnswer(FarmError):
    """A call that may have been carried out: its answer did not arrive."""


class DeviceFarmClient:
    """The service's API.

    Args:
        client: boto3's, without retries of its own: they would schedule a run twice, and take a used-up limit for a
            busy service.
        pace: spaces calls of one operation.
        sleep: for tests.
        clock: in seconds, as `sleep` moves it.
    """

    def __init__(
        self,
        client: Any,
        pace: Pace | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._pace = pace or Pace()
        self.sleep = sleep
        self.clock = clock
        self._threads = ThreadPoolExecutor(_THREADS, "aws")

    def close(self) -> None:
        """Ends its threads; calls in progress have deadlines and are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, work: Callable[[], T], limit_s: float = _CALL_S) -> T:
        """Does blocking work.

        Args:
            work: what to do; it has shorter limits of its own.
            limit_s: the longest wait, in seconds.

        Returns:
            Its result.

        Raises:
            LostAnswer: it took longer.
        """
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.wait_for(future, limit_s)
        except TimeoutError:
            raise LostAnswer(f"AWS Device Farm did not answer within {limit_s:g} s") from None

    async def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Calls an operation that may be repeated.

        Args:
            operation: in snake case.
            **parameters: of it.

        Returns:
            The answer.

        Raises:
            FarmError: the service refuses, or is still busy after some tries.
        """
        for attempt in range(_ATTEMPTS - 1):
            try:
                return await self.call_once(operation, **parameters)
            except FarmError as error:
                if not error.retryable:
                    raise
                log.debug("repeating %s: %s", operation, error)
                await self.sleep(0.5 * 2**attempt)
        return await self.call_once(operation, **parameters)

    async def call_once(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Calls an operation, and never repeats it.

        Args:
            operation: in snake case.
            **parameters: of it.

        Returns:
            The answer.

        Raises:
            RefusedCall: the service refuses.
            LostAnswer: it may have been carried out.
            FarmError: it was not sent.
        """
        await self.sleep(self._pace.wait_s(operation))
        try:
            answer: dict[str, Any] = await self.in_thread(partial(getattr(self._client, operation), **parameters))
        except ClientError as error:
            raise self._refused(operation, error) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            refusal = refusal_of("UnrecognizedClientException", 403)
            raise FarmError(f"AWS: {error}", retryable=False, hint=refusal.hint, kind=refusal.kind) from error
        except (BotoConnectionError, HTTPClientError) as error:
            hint = "is the region of the farm right?" if isinstance(error, EndpointConnectionError) else ""
            raise LostAnswer(f"{operation} of AWS Device Farm got no answer: {error}", hint=hint) from error
        except BotoCoreError as error:
            raise FarmError(f"{operation}: {error}", retryable=False, kind=FailureKind.OTHER) from error
        self._pace.went_well(operation)
        return answer

    async def pages(self, operation: str, result: str, **parameters: Any) -> AsyncIterator[list[dict[str, Any]]]:
        """Calls an operation that answers in pages.

        Args:
            operation: in snake case.
            result: the member with the items.
            **parameters: of it.

        Yields:
            The items of each page.
        """
        token: str | None = None
        while True:
            more = {} if token is None else {"nextToken": token}
            answer = await self.call(operation, **parameters, **more)
            yield answer.get(result) or []
            token = answer.get("nextToken")
            if not token:
                return

    async def all_pages(self, operation: str, result: str, **parameters: Any) -> list[dict[str, Any]]:
        """All items of an operation that answers in pages.

        Args:
            operation: in snake case.
            result: the member with the items.
            **parameters: of it.

        Returns:
            The items.
        """
        return [item async for page in self.pages(operation, result, **parameters) for item in page]

    def _refused(self, operation: str, error: ClientError) -> FarmError:
        said = error.response.get("Error", {})
        code = said.get("Code", "")
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        refusal = refusal_of(code, status)
        message = f"{operation} of AWS Device Farm: {code}: {said.get('Message', '')}"
        if refusal.retryable:
            self._pace.was_throttled(operation)
        if status >= 500:
            return LostAnswer(message)
        return RefusedCall(message, code, retryable=refusal.retryable, hint=refusal.hint, kind=refusal.kind)


def open_client(region: str) -> Any:
    """boto3's client, with its own credential chain. Slow: for a thread.

    Args:
        region: of the service.

    Returns:
        The client; AWS_ENDPOINT_URL_DEVICE_FARM names another server than the service's own.
    """
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=_THREADS,
        user_agent_extra="windtunnel",
    )
    session = boto3.session.Session()
    client = session.client("devicefarm", region_name=region, config=config)
    if is_loopback(client.meta.endpoint_url):
        # No proxy leads to this machine.
        direct = config.merge(Config(proxies={}))
        client = session.client("devicefarm", region_name=region, config=direct)
    return client
