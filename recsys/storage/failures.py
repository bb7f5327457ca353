"""Turns errors of a storage that a user can mend into messages that say how."""

import contextlib
from collections.abc import Iterator

from recsys.errors import ConfigError, RecsysError
from recsys.storage.s3 import MAX_TRIES, aws_code, is_transient


@contextlib.contextmanager
def answered(path: str) -> Iterator[None]:
    """Tell a storage that does not answer from a file that cannot be used, in the errors of the block.

    Raises:
        RecsysError: the storage failed as networks and servers do, after `MAX_TRIES` tries.
    """
    try:
        yield
    except Exception as error:
        if not is_transient(error):
            raise
        cause = error.__cause__ if isinstance(error, RecsysError) else error
        raise RecsysError(
            f"{path}: the storage did not answer in {MAX_TRIES} tries ({cause}); start the night again when it does: "
            "it continues where it stopped"
        ) from error


@contextlib.contextmanager
def explained(url: str) -> Iterator[None]:
    """Name the storage in the errors of the block.

    Raises:
        ConfigError: the bucket is missing, credentials are missing or refused, a path cannot be used.
        ConnectionError: S3 cannot be reached.
    """
    remote = url.startswith("s3://")
    try:
        yield
    except (PermissionError, NotADirectoryError) as error:
        way_out = "check the AWS credentials and the bucket's policy" if remote else "check its owner, mode and parents"
        raise ConfigError(f"{url}: cannot be used ({error}); {way_out}") from error
    except FileNotFoundError as error:
        if aws_code(error) != "NoSuchBucket":
            raise
        raise ConfigError(f"{url}: the bucket does not exist; create it, or correct the name") from error
    except Exception as error:
        if not remote:
            raise
        from botocore import exceptions  # type: ignore[import-untyped]  # slow to import, and only S3 needs it

        credentials = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound)
        if isinstance(error, credentials):
            way_out = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            raise ConfigError(f"{url}: no AWS credentials ({error}); {way_out}") from error
        if isinstance(error, exceptions.ParamValidationError):
            raise ConfigError(f"{url}: is not a valid address: {error}") from error
        if isinstance(error, exceptions.BotoCoreError):
            raise ConnectionError(f"{url}: {error}") from error  # so that callers need to know OSError only
        raise
