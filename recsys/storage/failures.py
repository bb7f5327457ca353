"""Turns errors of a storage that a user can mend into messages that say how."""

import contextlib
import errno
import tempfile
from collections.abc import Iterator

from recsys.errors import ConfigError, RecsysError, StorageError, UnansweredError, causes
from recsys.storage.s3 import MAX_TRIES, aws_code, is_transient

#: What a message says of a night that a storage stopped.
GOES_ON = "start the night again when it does: it continues where it stopped"
_AGAIN = "then start again: a night continues where it stopped"

_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
#: Servers behind S3's interface say with these that they are full: MinIO, Ceph, and gateways with HTTP 507.
_FULL_CODES = ("XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "507")
#: How libraries that do not raise OSError say it: safetensors and torch.
_FULL_WORDS = ("No space left on device", "Disk quota exceeded")
#: S3 refuses these credentials now, and took them before. The answer to HEAD has no other code than 400.
_EXPIRED_CODES = (
    "ExpiredToken",
    "ExpiredTokenException",
    "TokenRefreshRequired",
    "InvalidToken",
    "RequestExpired",
    "400",
)


def is_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that a disk or a storage is full."""
    return any(
        getattr(cause, "errno", None) in _FULL_ERRORS
        or aws_code(cause) in _FULL_CODES
        or any(words in str(cause) for words in _FULL_WORDS)
        for cause in causes(error)
    )


@contextlib.contextmanager
def room(url: str) -> Iterator[None]:
    """Name the file in the errors of the block if the disk of this machine is full: the block writes a local file.

    Raises:
        StorageError: no space is left.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, RecsysError) or not is_full(error):
            raise
        raise _full(url, error, local=not url.startswith("s3://")) from error


def no_room(name: str, error: BaseException) -> StorageError:
    """The error of the work `name`, which ended because some disk is full."""
    return StorageError(
        f"{name}: no space is left on a disk ({_first_line(error)}); make room in the folder of temporary files of the "
        f"workers ({tempfile.gettempdir()}, or where TMPDIR says), in the folder of Ray (/tmp/ray), or in the storage, "
        f"{_AGAIN}"
    )


@contextlib.contextmanager
def explained(url: str) -> Iterator[None]:
    """Name the storage in the errors of the block.

    Raises:
        ConfigError: the bucket is missing, credentials are missing or refused, a path cannot be used.
        StorageError: no space is left.
        UnansweredError: S3 failed as networks and servers do, after `MAX_TRIES` tries.
    """
    remote = url.startswith("s3://")
    try:
        yield
    except UnansweredError:
        raise
    except Exception as error:
        ours = _unanswered(url, error) if remote else None
        if ours is None and not isinstance(error, RecsysError):
            ours = _no_bucket(url, error) or _refused(url, error, remote) or (_misused(url, error) if remote else None)
        if ours is None:
            raise
        raise ours from error


def _unanswered(url: str, error: Exception) -> RecsysError | None:
    """An error that goes away, also where a reader took it for a broken file."""
    if not is_transient(error):
        return None
    cause = error.__cause__ if isinstance(error, RecsysError) else error
    return UnansweredError(f"{url}: the storage did not answer in {MAX_TRIES} tries ({cause}); {GOES_ON}")


def _no_bucket(url: str, error: Exception) -> RecsysError | None:
    if isinstance(error, FileNotFoundError) and aws_code(error) == "NoSuchBucket":
        return ConfigError(f"{url}: the bucket does not exist; create it, or correct the name")
    return None


def _misused(url: str, error: Exception) -> RecsysError | None:
    """What the client of S3 itself finds wrong."""
    from botocore import exceptions  # type: ignore[import-untyped]  # slow to import, and only S3 needs it

    credentials = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound)
    if isinstance(error, credentials):
        way_out = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        return ConfigError(f"{url}: no AWS credentials ({error}); {way_out}")
    if isinstance(error, exceptions.ParamValidationError):
        return ConfigError(f"{url}: is not a valid address: {error}")
    if isinstance(error, exceptions.BotoCoreError):
        return UnansweredError(f"{url}: cannot be reached ({error}); check the AWS settings, {_AGAIN}")
    return None


def _refused(url: str, error: Exception, remote: bool) -> RecsysError | None:
    """The error of ours for one of the operating system or of S3 that no second try mends; None: it is none."""
    if not isinstance(error, OSError):
        return None
    if is_full(error):
        return _full(url, error, local=not remote)
    if aws_code(error) in _EXPIRED_CODES:
        way_out = f"renew the credentials, {_AGAIN}"
        return ConfigError(f"{url}: the AWS credentials have expired ({error}); {way_out}")
    if isinstance(error, PermissionError | NotADirectoryError):
        way_out = "check the AWS credentials and the bucket's policy" if remote else "check its owner, mode and parents"
        return ConfigError(f"{url}: cannot be used ({error}); {way_out}")
    if error.errno == errno.EROFS:
        return ConfigError(f"{url}: cannot be written, its disk is read-only ({error}); mount it for writing")
    if error.errno in (errno.EIO, errno.ETIMEDOUT) and not remote:
        return StorageError(f"{url}: its disk fails ({error}); check the disk, {_AGAIN}")
    return None


def _full(url: str, error: BaseException, *, local: bool) -> StorageError:
    if not local and not any(aws_code(cause) in _FULL_CODES for cause in causes(error)):
        folder = tempfile.gettempdir()  # a file of S3 passes through it, and the errors of S3 have codes
        return StorageError(
            f"{folder}: no space is left for temporary files ({_first_line(error)}), which {url} needs; make room "
            f"there, or name another folder by TMPDIR, {_AGAIN}"
        )
    return StorageError(f"{url}: no space is left ({_first_line(error)}); make room, {_AGAIN}")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
