"""The calls of the Testing and the Tool Results API that the farm needs. They block: call them in threads."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import google_auth_httplib2
import httplib2
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.google_cloud.google_access import find_credentials
from windtunnel.farm_dispatcher.adapters.google_cloud.google_faults import NotAnObject, asking_google
from windtunnel.farm_dispatcher.domain.farm_settings import Endpoints
from windtunnel.farms.failure_kinds import FailureKind

_TIMEOUT_S: Final = 60
# So many steps of one farm run are more than there can be.
_MOST_PAGES: Final = 200
# A longer wait that a service asks for is not believed.
_LONGEST_WAIT_S: Final = 300.0
# Replaced by tests.
_now = time.monotonic


class TestLabClient:
    """Test Lab for one project.

    Args:
        project: of Google Cloud.
        endpoints: of emulators.
    """

    __test__ = False  # not a test, whatever pytest makes of its name

    def __init__(self, project: str, endpoints: Endpoints) -> None:
        self._project = project
        self._testing = _Service("testing", "v1", endpoints.testing, project)
        self._results = _Service("toolresults", "v1beta3", endpoints.toolresults, project)

    def catalog(self) -> Mapping[str, Any]:
        """The Android devices.

        Returns:
            A TestEnvironmentCatalog.

        Raises:
            FarmError: Test Lab does not answer.
        """
        with self._testing.calling("read the catalog of Test Lab") as (service, http):
            request = service.testEnvironmentCatalog().get(environmentType="ANDROID", projectId=self._project)
            return _object(request.execute(http=http))

    def create(self, body: Mapping[str, Any], request_id: str) -> Mapping[str, Any]:
        """Starts a matrix, once for each request id.

        Args:
            body: a TestMatrix.
            request_id: unique.

        Returns:
            The matrix, without executions.

        Raises:
            FarmError: Test Lab refuses it, or does not answer.
        """
        with self._testing.calling("start a test matrix") as (service, http):
            matrices = service.projects().testMatrices()
            request = matrices.create(projectId=self._project, body=dict(body), requestId=request_id)
            return _object(request.execute(http=http))

    def get(self, matrix: str) -> Mapping[str, Any]:
        """A matrix as it is now.

        Args:
            matrix: its id.

        Returns:
            The TestMatrix.

        Raises:
            FarmError: Test Lab does not answer, or does not know it.
        """
        with self._testing.calling(f"read test matrix {matrix}") as (service, http):
            request = service.projects().testMatrices().get(projectId=self._project, testMatrixId=matrix)
            return _object(request.execute(http=http))

    def cancel(self, matrix: str) -> None:
        """Cancels a matrix; one that has ended stays as it is.

        Args:
            matrix: its id.

        Raises:
            FarmError: Test Lab does not answer, or does not know it.
        """
        with self._testing.calling(f"cancel test matrix {matrix}") as (service, http):
            service.projects().testMatrices().cancel(projectId=self._project, testMatrixId=matrix).execute(http=http)

    def steps(self, execution: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The steps of an execution in Tool Results.

        Args:
            execution: projectId, historyId and executionId.

        Returns:
            All of them.

        Raises:
            FarmError: Tool Results does not answer.
        """
        ids = {name: str(execution.get(name, "")) for name in ("projectId", "historyId", "executionId")}
        found: list[Mapping[str, Any]] = []
        what = f"read the steps of execution {ids['executionId']}"
        # The matrix names it: if it is not there yet, it comes.
        with self._results.calling(what, comes=True) as (service, http):
            steps = service.projects().histories().executions().steps()
            request = steps.list(**ids)
            for _ in range(_MOST_PAGES):
                answer = _object(request.execute(http=http))
                found += answer.get("steps", ())
                request = steps.list_next(request, answer)
                if request is None:
                    break
        return found

    def close(self) -> None:
        """Ends the connections."""
        self._testing.close()
        self._results.close()


class _Service:
    """One API, built when it is first called, and connections that calls share in turn.

    Args:
        name: of the API.
        version: of the API.
        endpoint: of an emulator; empty: Google's own.
        project: that the calls count for.
    """

    def __init__(self, name: str, version: str, endpoint: str, project: str) -> None:
        self._name, self._version, self._endpoint, self._project = name, version, endpoint, project
        self._lock = threading.Lock()
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        self._built: Any = None
        self._quiet_until = 0.0
        self._credentials: Any = None

    @contextmanager
    def calling(self, what: str, *, comes: bool = False) -> Iterator[tuple[Any, Any]]:
        """Calls the service; errors become FarmError.

        Args:
            what: is asked for, for messages.
            comes: what is not there yet will be.

        Yields:
            The service, and a connection that nobody else uses.
        """
        self._wait_out(what)
        with asking_google(what, comes=comes):
            service = self._service()
            try:
                http = self._idle.get_nowait()
            except queue.Empty:
                http = self._connection()
            try:
                yield service, http
            except BaseException as error:
                # Nobody knows what still comes over it.
                _close(http)
                self._note_wait(error)
                raise
            self._idle.put(http)

    def _wait_out(self, what: str) -> None:
        """Asks nothing while the service wants to be left alone.

        Raises:
            FarmError: it does.
        """
        left = self._quiet_until - _now()
        if left > 0:
            raise FarmError(f"{what}: the service asked to wait, {left:.0f} s are left", kind=FailureKind.QUOTA)

    def _note_wait(self, error: BaseException) -> None:
        wanted = str(error.resp.get("retry-after", "")) if isinstance(error, HttpError) else ""
        if wanted.isdigit():
            self._quiet_until = _now() + min(float(wanted), _LONGEST_WAIT_S)

    def close(self) -> None:
        """Ends the connections."""
        while not self._idle.empty():
            _close(self._idle.get_nowait())

    def _service(self) -> Any:
        with self._lock:
            if self._built is None:
                self._credentials = find_credentials(self._endpoint, self._project)
                http = self._connection()
                self._built = build(
                    self._name,
                    self._version,
                    http=http,
                    client_options={"api_endpoint": self._endpoint} if self._endpoint else None,
                    cache_discovery=False,
                    static_discovery=True,
                )
                self._idle.put(http)
            return self._built

    def _connection(self) -> Any:
        if self._credentials is None:
            # A server on this machine is not behind a proxy.
            return httplib2.Http(timeout=_TIMEOUT_S, proxy_info=None)
        return google_auth_httplib2.AuthorizedHttp(self._credentials, http=httplib2.Http(timeout=_TIMEOUT_S))


def _object(answer: Any) -> Mapping[str, Any]:
    """An answer, which Google's client gives as it is if it is not JSON: of a login page or a proxy.

    Raises:
        NotAnObject: it is not an object.
    """
    if not isinstance(answer, Mapping):
        raise NotAnObject(f"not a JSON object but {str(answer)[:80]!r}")
    return answer


def _close(http: Any) -> None:
    getattr(http, "http", http).close()
