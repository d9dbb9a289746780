"""Objects of somebody's S3 bucket. boto3's own credential chain; honors AWS_ENDPOINT_URL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from urllib3.exceptions import HTTPError

from windtunnel.artifacts.sources.source_file import SourceFile
from windtunnel.artifacts.stores.port import CHUNK
from windtunnel.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}
_DENIED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}


class S3Bucket:
    """Reads objects in place."""

    def __init__(self) -> None:
        own_endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"max_attempts": 3, "mode": "standard"},
            # Only AWS serves buckets as host names, and only AWS knows its newer checksums.
            s3={"addressing_style": "path" if own_endpoint else "auto"},
            response_checksum_validation="when_required",
        )
        with _speaking("S3"):
            self._client: S3Client = boto3.session.Session().client("s3", config=config)

    def files(self, bucket: str, key: str) -> Iterator[SourceFile]:
        """Implements `Bucket.files`."""
        if self._exists(bucket, key):
            yield self._file(bucket, key, "")
            return
        for found in self._list(bucket, f"{key}/"):
            relative = found.removeprefix(f"{key}/")
            if relative and not relative.endswith("/"):
                yield self._file(bucket, found, relative)

    def _exists(self, bucket: str, key: str) -> bool:
        try:
            with _speaking(f"s3://{bucket}/{key}"):
                self._client.head_object(Bucket=bucket, Key=key)
        except NotFound:
            return False
        return True

    def _list(self, bucket: str, prefix: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        with _speaking(f"s3://{bucket}/{prefix}"):
            for page in pages:
                yield from (found["Key"] for found in page.get("Contents", []))

    def _file(self, bucket: str, key: str, relative: str) -> SourceFile:
        @contextmanager
        def read() -> Iterator[Iterator[bytes]]:
            where = f"s3://{bucket}/{key}"
            with _speaking(where):
                body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
            try:
                yield _chunks(where, body.iter_chunks(CHUNK))
            finally:
                body.close()

        return SourceFile(relative, read)


def _chunks(where: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    with _speaking(where):
        yield from chunks


@contextmanager
def _speaking(where: str) -> Iterator[None]:
    """Turns what the SDK raises into the project's errors.

    Raises:
        NotFound: the bucket or object does not exist.
        Unavailable: access is denied, or the service does not answer.
    """
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _MISSING:
            raise NotFound(f"{where} does not exist") from error
        raise Unavailable(f"cannot read {where}: {code}", retryable=code not in _DENIED) from error
    except NoCredentialsError as error:
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the service a role"
        raise Unavailable(f"cannot read {where}: no credentials", retryable=False, hint=hint) from error
    except (BotoCoreError, HTTPError, OSError) as error:
        raise Unavailable(f"cannot read {where}: {type(error).__name__}: {error}") from error
