"""Files below one root, local or `s3://`. A file appears whole or not at all."""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.fs

from recsys.errors import ConfigError
from recsys.storage.addresses import absolute_address, open_filesystem
from recsys.storage.atomic import (
    commit,
    locked,
    partial_file,
    remove_empty_folders,
    remove_left_behind,
    write_synced,
)
from recsys.storage.failures import explained, room
from recsys.storage.json_files import to_json
from recsys.storage.listing import file_sizes
from recsys.storage.object_file import ObjectFile
from recsys.storage.s3 import aws_code, create_object, delete_objects, swap_object


@dataclasses.dataclass(slots=True)
class NewFile:
    """A file that is being written: fill `path` (local); `bytes` and `sha256` are set once it is committed."""

    path: Path
    bytes: int = 0
    sha256: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Storage:
    """A root folder, local or `s3://bucket/prefix`, and the paths below it.

    It holds only the root's text, so it can be pickled; each process opens the filesystem when it first needs it.
    Paths are relative to the root and use `/`; a `..`, an empty or an absolute part is refused with ConfigError.
    A missing file is FileNotFoundError. A missing bucket, missing or refused credentials are ConfigError.
    """

    root: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", absolute_address(self.root, "storage"))

    @property
    def is_local(self) -> bool:
        """Whether the root is a folder of this machine, or one that is mounted on it."""
        return not self.root.startswith("s3://")

    def url(self, *parts: str) -> str:
        """The full address below the root, as other tools take it: `/data/warehouse/x` or `s3://bucket/prefix/x`."""
        names = [name for part in parts for name in part.split("/")]
        for name in names:
            if name in ("", ".", "..") or "\\" in name or "\0" in name:
                raise ConfigError(
                    f"path {'/'.join(parts)!r}: the part {name!r} is not allowed; use plain names below storage"
                )
        return "/".join([self.root.rstrip("/"), *names]) if names else self.root

    def path(self, *parts: str) -> str:
        """The same address as the fsspec filesystem spells it, without a scheme."""
        return self.url(*parts).removeprefix("s3://")

    def exists(self, path: str) -> bool:
        """Whether a file or a folder of that name is there now. A disk that cannot tell is an error."""
        with self._explained(path) as (fs, native):
            if not self.is_local:
                return bool(fs.exists(native))
            try:
                os.stat(native)
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

    def read_bytes(self, path: str) -> bytes:
        """The whole file."""
        with self._explained(path) as (fs, native):
            return bytes(fs.cat_file(native))

    def open_file(self, path: str, size: int | None = None) -> io.RawIOBase:
        """Open a file for random reads, unbuffered; on S3 each read is a request for its range.

        Close it after use, and let one thread use it at a time. The file's `size` in bytes, where it is known, saves
        S3 a request; then only the first read finds that a file is missing.
        """
        with self._explained(path) as (fs, native):
            if self.is_local:
                return open(native, "rb", buffering=0)
            return ObjectFile(fs, native, int(fs.size(native)) if size is None else size)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write or replace a file; a reader sees the old content or the new one."""
        with self._explained(path) as (fs, native):
            if self.is_local:
                with partial_file(native) as partial:
                    write_synced(partial, data)
                    commit(os.replace, partial, native)
            else:
                fs.pipe_file(native, data)

    def create_bytes(self, path: str, data: bytes) -> bool:
        """Write a file that must not exist yet. Of several writers exactly one gets True, the others get False.

        On S3 the winner may get False if the answer was lost on the network; compare the content where that matters.
        """
        with self._explained(path) as (fs, native):
            if not self.is_local:
                return create_object(fs, native, data)
            with partial_file(native) as partial:
                write_synced(partial, data)
                try:
                    commit(os.link, partial, native)
                except FileExistsError:
                    return False
                return True

    def swap_bytes(self, path: str, data: bytes, expected: bytes | None) -> bool:
        """Write a file if its content is still the expected one; None: if it is not there. Else False.

        Of several writers that expect the same content exactly one gets True. On S3 the winner may get False if the
        answer was lost on the network: read the file again.
        """
        if expected is None:
            return self.create_bytes(path, data)
        with self._explained(path) as (fs, native):
            if not self.is_local:
                return swap_object(fs, native, data, expected)
            with partial_file(native) as partial, locked(native):
                write_synced(partial, data)
                try:
                    if Path(native).read_bytes() != expected:
                        return False
                except FileNotFoundError:
                    return False
                commit(os.replace, partial, native)
                return True

    def sizes(self, prefix: str, recursive: bool = False) -> dict[str, int]:
        """Bytes of each file in a folder, by its name relative to the folder; a missing folder is empty.

        A folder that cannot be read is an error, also one below it.
        """
        with self._explained(prefix) as (fs, native):
            return file_sizes(fs, native, recursive=recursive, is_local=self.is_local)

    def list(self, prefix: str, recursive: bool = False) -> list[str]:
        """Sorted names of the files in a folder, relative to it; a missing folder is empty."""
        return sorted(self.sizes(prefix, recursive))

    def delete(self, path: str) -> None:
        """Remove a file; a missing one is fine."""
        with self._explained(path) as (fs, native), contextlib.suppress(FileNotFoundError):
            fs.rm_file(native)

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Sorted names of the folders in a folder; a missing folder is empty. A local folder may hold no file."""
        with self._explained(prefix) as (fs, native):
            try:
                found = fs.ls(native, detail=True)
            except FileNotFoundError as error:
                if aws_code(error) == "NoSuchBucket":
                    raise
                return ()
        names = (info["name"].rstrip("/") for info in found if info["type"] == "directory")
        return tuple(sorted(name.removeprefix(f"{native}/") for name in names if name.startswith(f"{native}/")))

    def delete_files(self, paths: Sequence[str]) -> None:
        """Remove files, in no order; missing ones are fine. S3 gets one request for 1,000 of them."""
        if self.is_local:
            for path in paths:
                self.delete(path)
        elif paths:
            with self._explained(paths[0]) as (fs, _):
                delete_objects(fs, [self.path(path) for path in paths])

    def delete_folder(self, prefix: str) -> None:
        """Remove every file below a folder, in no order: delete first, by `delete`, what must not outlive the others.

        A local folder goes too, with what killed writers left there, unless another process writes there.
        """
        self.delete_files([f"{prefix}/{name}" for name in self.list(prefix, recursive=True)])
        if self.is_local:
            remove_left_behind(Path(self.path(prefix)))
            remove_empty_folders(Path(self.path(prefix)))

    def remove_left_behind(self) -> None:
        """Remove the hidden files of writers that were killed more than a day ago. Of S3 the bucket's rules do it."""
        if self.is_local:
            remove_left_behind(Path(self.path()))

    @contextlib.contextmanager
    def new_file(self, path: str) -> Iterator[NewFile]:
        """Give a local path to write to; it becomes `path` when the block ends. Nothing is left if the block raises."""
        with contextlib.ExitStack() as stack:
            with self._explained(path) as (fs, native):
                if self.is_local:
                    file = NewFile(stack.enter_context(partial_file(native)))
                else:
                    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="recsys-"))
                    file = NewFile(Path(folder) / Path(native).name)
            with room(self.url(path)):
                yield file
                with file.path.open("rb+") as stream:
                    os.fsync(stream.fileno())
                    file.bytes = os.fstat(stream.fileno()).st_size
                    file.sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            with self._explained(path):
                if self.is_local:
                    commit(os.replace, file.path, native)
                else:
                    fs.put_file(str(file.path), native)

    @contextlib.contextmanager
    def local_file(self, path: str) -> Iterator[Path]:
        """Give the file as a local path: itself, or a temporary download."""
        if self.is_local:
            with self._explained(path):
                if not (local := Path(self.path(path))).is_file():
                    raise FileNotFoundError(self.url(path))
            yield local
            return
        with tempfile.TemporaryDirectory(prefix="recsys-") as folder:
            copy = Path(folder) / Path(path).name
            with self._explained(path) as (fs, native):
                fs.get_file(native, str(copy))
            yield copy

    @contextlib.contextmanager
    def local_folder(self, prefix: str, recursive: bool = True) -> Iterator[Path]:
        """Give a folder as a local path: itself, or a temporary download. Read it, do not write to it.

        What lies in folders below it is downloaded where ``recursive``.
        """
        if self.is_local:
            with self._explained(prefix):
                if not (local := Path(self.path(prefix))).is_dir():
                    raise FileNotFoundError(self.url(prefix))
            yield local
            return
        with tempfile.TemporaryDirectory(prefix="recsys-") as folder:
            self.download_folder(prefix, folder, recursive)
            yield Path(folder)

    def upload_folder(self, local_dir: str | Path, prefix: str) -> None:
        """Copy every file of a local folder. Each appears whole; the caller writes a marker that must be last."""
        source = Path(local_dir)
        for file in sorted(file for file in source.rglob("*") if file.is_file()):
            with self.new_file(f"{prefix}/{file.relative_to(source).as_posix()}") as new:
                shutil.copyfile(file, new.path)

    def download_folder(self, prefix: str, local_dir: str | Path, recursive: bool = True) -> None:
        """Copy every file of a folder to a local one; FileNotFoundError where there is none."""
        names = self.list(prefix, recursive)
        if not names:
            raise FileNotFoundError(self.url(prefix))
        for name in names:
            target = Path(local_dir) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._explained(f"{prefix}/{name}") as (fs, native):
                fs.get_file(native, str(target))

    def sha256(self, path: str) -> str:
        """Hex sha256 of a file's content, read in pieces."""
        with self.local_file(path) as local, local.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def read_json(self, path: str) -> Any:
        """The decoded file; ValueError where it is not UTF-8 JSON."""
        return json.loads(self.read_bytes(path))

    def write_json(self, path: str, value: object) -> None:
        """Write `to_json(value)`."""
        self.write_bytes(path, to_json(value))

    def arrow(self) -> tuple[Any, str]:
        """The root as a pyarrow filesystem and its path there, for `ray.train.RunConfig(storage_filesystem=)`."""
        if self.is_local:
            return pyarrow.fs.LocalFileSystem(), self.root
        return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(open_filesystem(self.root))), self.path()

    @contextlib.contextmanager
    def _explained(self, path: str) -> Iterator[tuple[Any, str]]:
        """Open the filesystem, and name the storage in errors."""
        with explained(self.url(*([path] if path else []))):
            yield open_filesystem(self.root), self.path(*([path] if path else []))
