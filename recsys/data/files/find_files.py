"""Find the files of an input."""

import functools
import logging
import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import replace

import fsspec
from fsspec.implementations.local import LocalFileSystem

from recsys.data.files.compression import UNREADABLE_ENDINGS, without_compression
from recsys.data.files.folders import FolderFile, file_info, files_below
from recsys.data.files.lake_tables import DELTA, delta_files, lake_table_around, lake_tables_among, refusal
from recsys.data.files.missing_files import why_no_file
from recsys.data.formats.input_format import FileInfo, InputFormat
from recsys.data.formats.registry import FORMATS
from recsys.errors import InputError

logger = logging.getLogger(__name__)

_WILDCARDS = re.compile(r"[*?\[]")
#: What programs append to the name of a full file: `events.csv.1`, `events.csv-20261014`.
_ROTATION = re.compile(r"([.-]\d+)+$")
#: Examples in a message about many files.
_SHOWN = 5


def list_files(
    fs: fsspec.AbstractFileSystem,
    path: str,
    format: str,  # noqa: A002 - the config's word
    *,
    required: bool = True,
) -> list[FileInfo]:
    """Files of a file, folder (recursive, by ending) or glob, sorted by path; those of S3 with `s3://`.

    In a folder, files without an ending are read too if their name has a digit (`part-00000`), and those of other kinds
    are left out. In a folder and in a glob, files and folders whose name begins with `_` or `.` are left out, and empty
    files. One log line names them. Symbolic links are followed. A folder of a Delta Lake table gives the files of its
    newest version. A path that exists is never taken for a glob.

    Raises:
        InputError: the path cannot be listed, there is no file and one is `required`, a file cannot be read as it is
            compressed, a link leads to nothing, or the files are a part of a table that keeps a log.
    """
    form = FORMATS[format]
    try:
        others: list[str] = []
        if fs.isfile(path):
            _refuse_part_of_table(fs, path, [path])
            files = [file_info(fs.info(path))]
        else:
            files = _in_folder(fs, path, form, others) if fs.isdir(path) else _matching(fs, path, form, others)
        why = why_no_file(fs, path, form, others) if required and not files else ""
    except OSError as error:
        raise InputError(f"{path}: cannot be listed: {error}") from error
    except ValueError as error:
        raise InputError(f"{path}: is no glob that can be read: {error}") from error
    if why:
        raise InputError(f"{path}: no {format} file there; {why}")
    if not isinstance(fs, LocalFileSystem):  # as people write it
        files = [replace(file, path=fs.unstrip_protocol(file.path)) for file in files]
    return sorted(files, key=lambda file: file.path)


def _in_folder(fs: fsspec.AbstractFileSystem, folder: str, form: InputFormat, others: list[str]) -> list[FileInfo]:
    """Files of a folder, or of the table that it is; adds the names of what is left out to ``others``."""
    found = files_below(fs, folder)
    root = str(fs._strip_protocol(folder)).rstrip("/")
    tables = lake_tables_among(file.info.path for file in found)
    if tables.get(root) == DELTA and form.name == "parquet":
        return delta_files(root, remote=not isinstance(fs, LocalFileSystem))
    for table, kind in tables.items():
        raise refusal(folder, table, kind)
    parent, _, name = root.rpartition("/")
    if "=" in name or name == "data":
        _refuse_part_of_table(fs, folder, [f"{parent}/{name}"])
    return _chosen(found, root, form, others)


def _chosen(found: Sequence[FolderFile], root: str, form: InputFormat, others: list[str]) -> list[FileInfo]:
    """The files of the format that are not empty, each once; a log line names the others."""
    kept: list[FolderFile] = []
    left_out: list[str] = []
    for file in found:
        relative = file.info.path.removeprefix(root + "/")
        if not _is_named_for(relative, form):
            if not _is_hidden(relative) or _is_named_for(posixpath.basename(relative).lstrip("_."), form):
                left_out.append(relative)
        elif file.is_missing:
            raise InputError(f"{file.info.path}: is a link to a file that does not exist; mend or remove the link")
        else:
            kept.append(file)
    dropped = {file.info.path for file in kept if not file.info.size} | _repeated_by_links(kept)
    left_out += [path.removeprefix(root + "/") for path in dropped]
    if left_out:
        _tell_left_out(root, form.name, tuple(sorted(left_out)))
        others += sorted(left_out)
    return [file.info for file in kept if file.info.path not in dropped]


@functools.lru_cache(maxsize=256)  # an input is listed several times in a night
def _tell_left_out(root: str, name: str, left_out: tuple[str, ...]) -> None:
    shown = ", ".join(left_out[:_SHOWN]) + (" …" if len(left_out) > _SHOWN else "")
    logger.warning(
        "%s: left out (%d), since they are no %s files, empty, hidden or read under another name: %s",
        root, len(left_out), name, shown,
    )  # fmt: skip


def _matching(fs: fsspec.AbstractFileSystem, pattern: str, form: InputFormat, others: list[str]) -> list[FileInfo]:
    """Files that match a glob, and those of the folders that match it; without hidden ones that it does not name."""
    if not _WILDCARDS.search(pattern):
        return []
    found: dict[str, FileInfo] = {}
    written = set(pattern.split("/"))
    for name, details in fs.glob(_with_literal_folders(fs, pattern), detail=True).items():
        if any(_is_hidden(part) for part in str(name).rstrip("/").split("/") if part not in written):
            continue
        try:
            info = fs.info(name) if details["type"] == "other" else details  # fsspec says so of links
        except FileNotFoundError as error:
            raise InputError(f"{name}: is a link to a file that does not exist; mend or remove the link") from error
        inside = _in_folder(fs, str(name), form, others) if info["type"] == "directory" else [file_info(info)]
        found.update({file.path: file for file in inside})
    _refuse_part_of_table(fs, pattern, list(found))
    if empty := tuple(sorted(path for path, file in found.items() if not file.size)):
        _tell_left_out(pattern, form.name, empty)
        others += empty
    return [file for file in found.values() if file.size]


def _with_literal_folders(fs: fsspec.AbstractFileSystem, pattern: str) -> str:
    """The glob, in which the folders at its beginning that exist as they are written stand for themselves."""
    folder, rest = str(fs._strip_protocol(pattern)), ""
    while folder and not fs.isdir(folder):
        folder, _, name = folder.rpartition("/")
        rest = f"/{name}{rest}"
    return re.sub(r"([*?\[])", r"[\1]", folder) + rest


def _refuse_part_of_table(fs: fsspec.AbstractFileSystem, path: str, files: Sequence[str]) -> None:
    """Refuse files that are a part of a table which keeps a log."""
    folders = {re.sub(r"(/[^/=]+=[^/]*)+$", "", posixpath.dirname(file)) for file in files}
    for folder in sorted(folders):
        table = lake_table_around(fs, folder)
        if table is not None:
            raise refusal(path, *table)


def _repeated_by_links(files: Sequence[FolderFile]) -> set[str]:
    """Paths by links of files that are in the folder under their own names too, such as `latest.csv`."""
    linked = [file.info.path for file in files if file.is_linked]
    if not linked:
        return set()
    own = {os.path.realpath(file.info.path) for file in files if not file.is_linked}
    return {path for path in linked if os.path.realpath(path) in own}


def _is_hidden(relative: str) -> bool:
    return any(part.startswith(".") or (part.startswith("_") and "=" not in part) for part in relative.split("/"))


def _is_named_for(relative: str, form: InputFormat) -> bool:
    """Whether a file of a folder is read.

    Raises:
        InputError: it would be, but it is compressed in a way that is not read.
    """
    if _is_hidden(relative):
        return False
    name = posixpath.basename(relative).lower()
    plain = without_compression(name)
    is_compressed = plain != name
    has_no_ending = "." not in plain and (re.search(r"\d", plain) or (is_compressed and form.compressible))
    if has_no_ending or plain.endswith(form.endings) or _ROTATION.sub("", plain).endswith(form.endings):
        if is_compressed and not form.compressible:
            raise InputError(f"{relative}: {form.name} files are not read compressed; decompress it")
        return True
    ending = next((ending for ending in UNREADABLE_ENDINGS if name.endswith(ending)), None)
    if ending is not None and name.removesuffix(ending).endswith(form.endings):
        raise InputError(f"{relative}: {ending} is not read; decompress it, or compress it as .gz or .zst")
    return False
