"""What needs care with s3fs: open a bucket, try again after a fault, write on a condition, read an error's code."""

import functools
import os
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import fsspec

from recsys.errors import ConfigError

#: A request that fails as networks and servers do is sent so many times, over about half a minute.
MAX_TRIES = 10

#: Most keys that S3 takes in a request to delete objects.
KEYS_PER_REQUEST = 1000

_CONFLICT_ATTEMPTS = 5
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
#: Codes of answers after which the same request may succeed.
_TRANSIENT_CODES = frozenset(
    {
        *("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "BandwidthLimitExceeded"),
        *("RequestTimeout", "RequestTimeoutException", "InternalError", "ServiceUnavailable"),
        *("500", "502", "503", "504"),
    }
)
#: One thread opens at a time: else sixteen first calls at once would make sixteen clients.
_opening = threading.Lock()


def open_bucket(address: str) -> Any:
    """The filesystem of `s3://bucket/key`. The key may be a glob. All threads of a process share one filesystem.

    Raises:
        ConfigError: the AWS settings name an endpoint that is no address.
    """
    bucket, _, key = address.removeprefix("s3://").partition("/")
    # A bucket policy may allow only a prefix, and a glob begins where its first wildcard is.
    prefix = re.split(r"[*?\[]", key)[0]
    variable = next(filter(os.environ.get, _ENDPOINT_VARIABLES), None)
    endpoint = None if variable is None else os.environ[variable]
    with _opening:
        try:
            return _open(bucket, prefix, endpoint, os.getpid())
        except ValueError as error:
            if not str(error).startswith("Invalid endpoint"):
                raise
            named = "endpoint_url of the AWS profile" if variable is None else f"{variable}={endpoint}"
            raise ConfigError(
                f"{named}: is no address of S3 ({error}); write it with http:// or https:// and without underscores in "
                f"the host, such as http://localhost:9000, or leave it out for AWS"
            ) from error


def create_object(fs: Any, native: str, data: bytes) -> bool:
    """Write an object that must not exist yet; False if it exists."""
    try:
        return _on_condition(lambda: fs.pipe_file(native, data, mode="create"))
    except FileExistsError:
        return False


def swap_object(fs: Any, native: str, data: bytes, expected: bytes) -> bool:
    """Write an object if its content is still the expected one; else False."""
    bucket, _, key = native.partition("/")
    try:
        tag = fs.info(native, refresh=True)["ETag"]  # before the content: what changes in between changes the tag
        if fs.cat_file(native) != expected:
            return False
    except FileNotFoundError:
        return False
    return _on_condition(lambda: fs.call_s3("put_object", Bucket=bucket, Key=key, Body=data, IfMatch=tag))


def delete_objects(fs: Any, natives: Sequence[str]) -> None:
    """Delete objects of one bucket, `KEYS_PER_REQUEST` with each request; missing ones are fine.

    Raises:
        OSError: S3 could not delete an object; the message names the first one.
    """
    for start in range(0, len(natives), KEYS_PER_REQUEST):
        parts = [native.partition("/") for native in natives[start : start + KEYS_PER_REQUEST]]
        objects = [{"Key": key} for _, _, key in parts]
        answer = fs.call_s3("delete_objects", Bucket=parts[0][0], Delete={"Objects": objects, "Quiet": True})
        if failed := answer.get("Errors"):
            first = failed[0]
            raise OSError(
                f"{len(failed)} objects cannot be deleted, the first is {first.get('Key')}: {first.get('Code')} "
                f"{first.get('Message', '')}".strip()
            )


def _on_condition(write: Callable[[], Any]) -> bool:
    """Send a conditional write; False if its condition does not hold."""
    for attempt in range(_CONFLICT_ATTEMPTS):
        try:
            write()
        except OSError as error:
            if aws_code(error) == "PreconditionFailed":  # S3-compatible servers leave out which condition
                return False
            # AWS: another conditional write was in progress and its outcome is open; ask again.
            if aws_code(error) != "ConditionalRequestConflict" or attempt == _CONFLICT_ATTEMPTS - 1:
                raise
        else:
            return True
    raise AssertionError("unreachable")


def is_transient(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is of the kind that goes away: the network's, or an overloaded server's.

    An unknown host or a refused connection counts too: a server may be starting again.
    """
    from aiohttp import ClientError  # slow to import, and only S3 needs them
    from botocore import exceptions  # type: ignore[import-untyped]

    while error is not None:
        if isinstance(
            error,
            ConnectionError | TimeoutError | ClientError | exceptions.HTTPClientError | exceptions.ConnectionError,
        ):
            return True
        code = aws_code(error) or getattr(error, "response", {}).get("Error", {}).get("Code", "")
        if code in _TRANSIENT_CODES:
            return True
        error = error.__cause__
    return False


def aws_code(error: BaseException) -> str:
    """The code that S3 gave with the error, such as NoSuchBucket; empty if there is none."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


@functools.lru_cache(maxsize=64)
def _open(bucket: str, prefix: str, endpoint: str | None, pid: int) -> Any:  # noqa: ARG001 (a fork opens its own)
    from s3fs.core import set_custom_error_handler

    set_custom_error_handler(is_transient)
    fs = fsspec.filesystem(
        "s3",
        use_listings_cache=False,  # other processes write here too, and an old listing would hide their work
        endpoint_url=endpoint,
        config_kwargs={"retries": {"total_max_attempts": 1}},  # s3fs tries again, also while it reads an answer
    )
    fs.retries = MAX_TRIES
    # s3fs reports a missing bucket as an empty one; this request fails if the bucket is missing.
    fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
    return fs
