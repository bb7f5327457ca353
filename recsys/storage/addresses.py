"""Addresses of files, local or `s3://`, and the filesystem that each of them needs."""

import os
import re
from typing import Any

import fsspec

from recsys.errors import ConfigError
from recsys.storage.failures import explained
from recsys.storage.s3 import open_bucket

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/")


def open_input(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of a user's input (a file, folder or glob; local or `s3://`) and its absolute address.

    Raises:
        ConfigError: the scheme is not supported, the bucket is missing, or there are no credentials for it.
    """
    address = absolute_address(path, "input")
    with explained(address):
        return open_filesystem(address), address


def input_bytes(path: str) -> bytes:
    """The whole file at a user's address.

    Raises:
        ConfigError: see `open_input`.
        StorageError: the storage fails.
    """
    fs, location = open_input(path)
    with explained(path):
        return bytes(fs.cat_file(location))


def absolute_address(path: str, name: str) -> str:
    """A local path from the root of the machine, or an `s3://` address without a slash at its end.

    Raises:
        ConfigError: the path is empty, its scheme is not supported, or it has no bucket; `name` says what it is of.
    """
    scheme = _SCHEME.match(path)
    if scheme is None or path.startswith("file:///"):
        if not path:
            raise ConfigError(f"{name}: the path is empty; use a local folder or s3://bucket/prefix")
        return os.path.abspath(os.path.expanduser(path.removeprefix("file://")))
    if scheme[1] != "s3":
        raise ConfigError(f"{name} {path}: {scheme[1]!r} is not supported; use a local folder or s3://bucket/prefix")
    bucket, *names = path.removeprefix("s3:").removeprefix("//").rstrip("/").split("/")
    if not path.startswith("s3://") or not bucket or any(name in ("", ".", "..") for name in names):
        raise ConfigError(f"{name} {path}: must look like s3://bucket/prefix")
    return path.rstrip("/")


def open_filesystem(address: str) -> Any:
    """The fsspec filesystem of an absolute address."""
    return open_bucket(address) if address.startswith("s3://") else fsspec.filesystem("file")
