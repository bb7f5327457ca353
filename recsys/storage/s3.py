"""What needs care with s3fs: open a bucket, create an object once, read the code of an error."""

import functools
import os
import re
import threading
from typing import Any

import fsspec

_CONFLICT_ATTEMPTS = 5
#: One thread opens at a time: else sixteen first calls at once would make sixteen clients.
_opening = threading.Lock()


def open_bucket(address: str) -> Any:
    """The filesystem of `s3://bucket/key`. The key may be a glob. All threads of a process share one filesystem."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    # A bucket policy may allow only a prefix, and a glob begins where its first wildcard is.
    prefix = re.split(r"[*?\[]", key)[0]
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
    with _opening:
        return _open(bucket, prefix, endpoint, os.getpid())


def create_object(fs: Any, native: str, data: bytes) -> bool:
    """Write an object that must not exist yet; False if it exists."""
    for attempt in range(_CONFLICT_ATTEMPTS):
        try:
            fs.pipe_file(native, data, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if aws_code(error) == "PreconditionFailed":  # S3-compatible servers leave out which condition
                return False
            # AWS: another conditional write was in progress and its outcome is open; ask again.
            if aws_code(error) != "ConditionalRequestConflict" or attempt == _CONFLICT_ATTEMPTS - 1:
                raise
        else:
            return True
    raise AssertionError("unreachable")


def aws_code(error: BaseException) -> str:
    """The code that S3 gave with the error, such as NoSuchBucket; empty if there is none."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


@functools.lru_cache(maxsize=64)
def _open(bucket: str, prefix: str, endpoint: str | None, pid: int) -> Any:  # noqa: ARG001 (a fork opens its own)
    # Listings are never cached: other processes write here too, and an old listing would hide their work.
    fs = fsspec.filesystem("s3", use_listings_cache=False, endpoint_url=endpoint)
    # s3fs reports a missing bucket as an empty one; this request fails if the bucket is missing.
    fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
    return fs
