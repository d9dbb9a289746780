"""Artifacts in a bucket behind the S3 API: AWS, SeaweedFS, MinIO, Garage ... through the `minio` SDK."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, cast
from urllib.parse import parse_qs, urlsplit

import certifi
import urllib3
from minio import Minio
from minio.credentials.providers import AWSConfigProvider, ChainedProvider, EnvAWSProvider, IamAwsProvider
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from windtunnel.artifacts.stores.port import CHUNK, AccessDenied, ArtifactRef, RemoteStore, VerifyingReader
from windtunnel.errors import InvalidInput, NotFound, Unavailable

_PART = 8 * 1024 * 1024
_MISSING = {"NoSuchKey", "NoSuchObject", "NotFound"}
_REFUSED = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "NoSuchBucket"}
# The blob is there; another writer is at it; the server does not know conditional writes.
_NOT_WRITTEN = {"PreconditionFailed", "ConditionalRequestConflict", "NotImplemented", "MethodNotAllowed"}
_ROLE_VARIABLES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


class S3Store(RemoteStore):
    """A bucket and a key prefix. Credentials come from the AWS environment variables, file or role.

    `endpoint` is a URL such as `http://127.0.0.1:8333`; None means AWS. The bucket is made only with
    `create_bucket`.

    Args:
        bucket: its name.
        prefix: of all keys.
        endpoint: of the service; None: AWS.
        region: of the bucket; None: from the environment.
        create_bucket: create the bucket if it is missing.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        region: str | None = None,
        create_bucket: bool = False,
    ) -> None:
        super().__init__(prefix)
        region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        self._bucket = bucket
        self._where = f"s3://{bucket} at {endpoint or 'AWS'}"
        self._create = create_bucket
        self._lock = threading.Lock()
        with self._speaking("configure the client"):
            self._client = _client(endpoint, region, urllib3.PoolManager)
            self._create_only = _client(endpoint, region, _CreateOnlyPool)

    def _upload(self, ref: ArtifactRef, source: VerifyingReader) -> None:
        self._ensure_bucket()
        with self._speaking(f"store {ref.sha256}"):
            try:
                self._send(self._create_only, ref, source)
            except S3Error as error:
                if error.code not in _NOT_WRITTEN:
                    raise
                if self._stat(ref.sha256) != ref:
                    source.seek(0)
                    self._send(self._client, ref, source)

    def _send(self, client: Minio, ref: ArtifactRef, source: VerifyingReader) -> None:
        client.put_object(
            self._bucket,
            self._key(ref.sha256),
            cast(BinaryIO, source),
            ref.size_bytes,
            metadata={"sha256": ref.sha256},
            part_size=_PART,
            num_parallel_uploads=2,
        )

    @contextmanager
    def _open(self, sha256: str) -> Iterator[Iterator[bytes]]:
        with self._speaking(f"read {sha256}"):
            response = self._client.get_object(self._bucket, self._key(sha256))
        try:
            yield self._read(sha256, response)
        finally:
            response.close()
            response.release_conn()

    def _read(self, sha256: str, response: Any) -> Iterator[bytes]:
        with self._speaking(f"read {sha256}"):
            yield from response.stream(CHUNK)

    def _stat(self, sha256: str) -> ArtifactRef | None:
        try:
            with self._speaking(f"look up {sha256}"):
                found = self._client.stat_object(self._bucket, self._key(sha256))
        except NotFound:
            return None
        return ArtifactRef(sha256, found.size or 0)

    def _delete(self, sha256: str) -> None:
        with self._speaking(f"delete {sha256}"):
            self._client.remove_object(self._bucket, self._key(sha256))

    def _ping(self) -> None:
        self._ensure_bucket()
        with self._speaking("look for the bucket"):
            exists = self._client.bucket_exists(self._bucket)
        if not exists:
            raise self._no_bucket()

    def _ensure_bucket(self) -> None:
        with self._lock, self._speaking("make the bucket"):
            if self._create and not self._client.bucket_exists(self._bucket):
                try:
                    self._client.make_bucket(self._bucket)
                except S3Error as error:
                    # Another service made it in the meantime.
                    if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                        raise
            self._create = False

    def _no_bucket(self) -> Unavailable:
        hint = "make the bucket, or add create=1 to the store's URL"
        return Unavailable(f"{self._where} does not exist", retryable=False, hint=hint)

    @contextmanager
    def _speaking(self, action: str) -> Iterator[None]:
        """Turns what the SDK raises into the project's errors.

        Raises:
            AccessDenied: the service does not allow the action.
            NotFound: the bucket or object does not exist.
            Unavailable: the service does not answer.
        """
        try:
            yield
        except S3Error as error:
            if error.code in _MISSING:
                raise NotFound(f"no such artifact in {self._where}: cannot {action}") from error
            if error.code == "NoSuchBucket":
                raise self._no_bucket() from error
            message = f"{self._where}: cannot {action}: {error.code}"
            if error.code == "AccessDenied":
                raise AccessDenied(message) from error
            raise Unavailable(message, retryable=error.code not in _REFUSED) from error
        except ValueError as error:
            hint = "check bucket and endpoint, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            raise Unavailable(f"{self._where}: cannot {action}: {error}", retryable=False, hint=hint) from error
        except (MinioException, HTTPError, OSError) as error:
            reason = type(error).__name__
            raise Unavailable(f"{self._where}: cannot {action}: {reason}: {error}") from error


class _CreateOnlyPool(urllib3.PoolManager):
    """Adds `If-None-Match: *` where an object comes into being; the SDK has no argument for it."""

    def urlopen(self, method: str, url: str, *args: Any, **kw: Any) -> urllib3.BaseHTTPResponse:
        query = parse_qs(urlsplit(url).query)
        creates = (method == "PUT" and "partNumber" not in query) or (method == "POST" and "uploadId" in query)
        if creates:
            headers = kw.get("headers")
            kw["headers"] = _with_condition(headers if isinstance(headers, Mapping) else {})
        return super().urlopen(method, url, *args, **kw)


def _with_condition(headers: Mapping[str, str]) -> urllib3.HTTPHeaderDict:
    conditional = urllib3.HTTPHeaderDict(headers)
    conditional["If-None-Match"] = "*"
    return conditional


def _client(endpoint: str | None, region: str, pool: type[urllib3.PoolManager]) -> Minio:
    url = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    parts = urlsplit(url or "https://s3.amazonaws.com")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.path not in {"", "/"}:
        raise InvalidInput(
            "the S3 endpoint is not http(s)://host[:port]",
            hint="credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, never from a URL",
        )
    return Minio(
        parts.netloc,
        region=region,
        secure=parts.scheme == "https",
        credentials=_credentials(aws=url is None),
        http_client=pool(
            maxsize=16,
            timeout=urllib3.Timeout(connect=5, read=60),
            retries=urllib3.Retry(total=3, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
            cert_reqs="CERT_REQUIRED",
            ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        ),
    )


def _credentials(*, aws: bool) -> ChainedProvider:
    # The role provider asks the cloud's metadata address, which hangs anywhere else.
    has_role = aws or any(os.environ.get(name) for name in _ROLE_VARIABLES)
    return ChainedProvider([EnvAWSProvider(), AWSConfigProvider(), *([IamAwsProvider()] if has_role else [])])
