"""S3 through s3fs, where it needs care: opening a bucket, creating an object once, reading an error's code."""

import functools
import os
import re
import threading
from typing import Any

import fsspec

_CONFLICT_ATTEMPTS = 5
#: One opener at a time: sixteen first calls at once would each make a client.
_opening = threading.Lock()


def open_bucket(address: str) -> Any:
    """The filesystem of `s3://bucket/key`, whose key may be a glob; one a process, whatever the number of threads."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    # A bucket policy may allow only a prefix, and a glob begins where its first wildcard is.
    prefix = re.split(r"[*?\[]", key)[0]
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
    with _opening:
        return _open(bucket, prefix, endpoint, os.getpid())


def create_object(fs: Any, native: str, data: bytes) -> bool:
    """Write an object that must not exist yet; False where it does."""
    for attempt in range(_CONFLICT_ATTEMPTS):
        try:
            fs.pipe_file(native, data, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if aws_code(error) == "PreconditionFailed":  # S3-compatible servers leave out which condition
                return False
            # AWS: another conditional write was in flight and its outcome is open; ask again.
            if aws_code(error) != "ConditionalRequestConflict" or attempt == _CONFLICT_ATTEMPTS - 1:
                raise
        else:
            return True
    raise AssertionError("unreachable")


def aws_code(error: BaseException) -> str:
    """The code that S3 gave with the error, such as NoSuchBucket; empty where there is none."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


@functools.lru_cache(maxsize=64)
def _open(bucket: str, prefix: str, endpoint: str | None, pid: int) -> Any:  # noqa: ARG001 (a fork opens anew)
    # Listings are never cached: another process writes here too, and a stale answer would lose its work.
    fs = fsspec.filesystem("s3", use_listings_cache=False, endpoint_url=endpoint)
    # s3fs answers "not there" for a missing bucket, which would look like an empty one: ask once, plainly.
    fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
    return fs
