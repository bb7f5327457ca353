"""The list of a run's input files: taken at its first start, stored with it, and followed by all stages that read.

A night that is started again must read what its first start would have read: feedback that arrives meanwhile waits for
the next night.
"""

import datetime as dt
import hashlib
import logging
import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import fsspec
from pydantic import ConfigDict

from recsys.config.strict_json import STRICT
from recsys.data.config import EventsInput, TableInput
from recsys.data.events.feedback import FEEDBACK_DIR, feedback_source
from recsys.data.events.feedback_names import file_day, started_before
from recsys.data.files.find_files import list_files
from recsys.data.files.whole_lines import STILL_WRITTEN_S, may_grow, whole_bytes
from recsys.data.formats.input_format import FileInfo, InputFormat
from recsys.data.formats.registry import FORMATS
from recsys.data.splits import cutoff_for
from recsys.errors import InputError
from recsys.pipeline.inputs.feedback_index import counted_files, replaced_files
from recsys.settings import Config
from recsys.storage.addresses import open_input
from recsys.storage.failures import explained
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder

logger = logging.getLogger(__name__)

#: The inputs of a night.
InputName = Literal["events", "items", "users", "feedback", "block_file", "allow_file"]
#: Those that are lists of item ids. The first start copies them, since many stages and the live service read them.
ID_LISTS: tuple[Literal["block_file"], Literal["allow_file"]] = ("block_file", "allow_file")
#: The end of a file that may grow: by these bytes one sees later that only something was appended.
_TAIL_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """A file of the list."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    file: FileInfo
    """Its path is relative to the working directory where the config's is, and to the storage for feedback: a job may
    be started again in another copy of the folder, and a warehouse may be moved. That of an object is without `s3://`."""
    tail: str | None = None
    """Digest of its last bytes, for local text files, which their writers may still append to."""


#: The files of each input, sorted by path.
InputList = dict[InputName, list[ListedFile]]


def take_inputs(config: Config, date: dt.date) -> InputList:
    """List the input files of a night as they are now.

    Raises:
        InputError: an input has no file, or a block list or an allow list is missing.
    """
    taken: InputList = {"events": [], "items": [], "users": [], "feedback": [], "block_file": [], "allow_file": []}
    for name, source in sources_of(config).items():
        found = list_input(source)
        taken[name] = [_listed(file, source) for file in found]
    taken["feedback"] = [_listed_feedback(file, config) for file in feedback_files(config, date)]
    for key in ID_LISTS:
        if (path := getattr(config.rerank, key)) is not None:
            taken[key] = [ListedFile(file=_id_file(path, key))]
    return taken


def id_list_path(run: RunFolder, key: str) -> str:
    """The run's copy of a list of item ids, below the storage root."""
    return f"{run.dir}/{key}.txt"


def sources_of(config: Config) -> dict[InputName, TableInput]:
    """The inputs that the config names, without feedback."""
    inputs = config.inputs
    sources: dict[InputName, TableInput | None] = {
        "events": inputs.events,
        "items": inputs.items,
        "users": inputs.users,
    }
    return {name: source for name, source in sources.items() if source is not None}


def list_input(source: TableInput, *, required: bool = True) -> list[FileInfo]:
    """Files of an input as they are now, sorted by path; see `list_files`."""
    fs, path = open_input(source.path)
    with explained(source.path):
        return list_files(fs, path, source.format, required=required)


def feedback_input(config: Config) -> EventsInput:
    """The events that the live service stored, as an input."""
    return feedback_source(Storage(config.storage).url(FEEDBACK_DIR), config.inputs.event_settings)


def feedback_files(config: Config, date: dt.date) -> list[FileInfo]:
    """Files of the live service's events as they are now, sorted by path; none if `inputs.feedback` is off.

    Files that the service began after the night's date are left out: what they hold was not known then. So are those
    of days that are older than `inputs.feedback_days`. A warning counts those of a day and more after the date: they
    are many where the data ended some time ago.
    """
    if not config.inputs.feedback:
        return []
    # A service that was killed may leave an empty file.
    found = [file for file in list_input(feedback_input(config), required=False) if file.size]
    counted, end = counted_files(Storage(config.storage), found), cutoff_for(date, 0)
    if late := sum(not started_before(file.path, end + dt.timedelta(days=1)) for file in counted):
        logger.warning(
            "feedback: files that the live service began more than a day after the end of %s are not read (%d): they "
            "wait for the nights of their days, with those of their events that are older",
            date,
            late,
        )
    first = first_feedback_day(config, date)
    return [
        file
        for file in counted
        if started_before(file.path, end) and ((day := file_day(file.path)) is None or day >= first)
    ]


def first_feedback_day(config: Config, date: dt.date) -> dt.date:
    """The oldest day of feedback that the night of a date reads."""
    days = config.inputs.feedback_days
    return dt.date.min if days is None else date - dt.timedelta(days=min(days, date.toordinal()) - 1)


def present_files(config: Config, name: InputName, listed: Iterable[ListedFile]) -> list[FileInfo]:
    """The files of the list, to be read now.

    Of a text file that has grown since, only the bytes that it had then are read (`FileInfo.size`). Feedback that was
    merged since is read from the compact files (`FileInfo.pieces`).

    Raises:
        InputError: a file is gone or has another content; the message names it.
    """
    source = feedback_input(config) if name == "feedback" else sources_of(config)[name]
    fs, _ = open_input(source.path)
    now = {file.path: file for file in list_input(source, required=False)}
    places = {_place(each.file.path, config, name, source): each for each in listed}
    found: list[FileInfo] = []
    if name == "feedback" and (missing := [replace(places[at].file, path=at) for at in places if at not in now]):
        merged, replaced = replaced_files(Storage(config.storage), missing)
        places = {at: each for at, each in places.items() if at not in replaced}
        found += merged
    for at, each in places.items():
        with explained(source.path):
            current = now.get(at) or _replaced(fs, each.file, at)
        if current is None:
            raise InputError(
                f"{_key(name)}: {at} is gone since this night was first started; put it back, or start the night again "
                f"with the files that are there now"
            )
        is_same = (current.size, current.version) == (each.file.size, each.file.version)
        if not is_same and not _only_grew(each, current, is_feedback=name == "feedback"):
            raise InputError(
                f"{_key(name)}: {at} was changed since this night was first started; start the night again to read it "
                f"as it is now"
            )
        found.append(replace(each.file, path=at))
    return sorted(found, key=lambda file: file.path) if name == "feedback" else found


def same_inputs(first: InputList, second: InputList) -> bool:
    """Whether two lists name the same files in the same versions; feedback may have come meanwhile."""
    names = [name for name in first if name != "feedback"]
    return all([file.file for file in first[name]] == [file.file for file in second.get(name, [])] for name in names)


def _key(name: InputName) -> str:
    return f"inputs.{name}"


def _id_file(path: str, name: str) -> FileInfo:
    fs, location = open_input(path)
    with explained(path):
        if not fs.isfile(location):
            raise InputError(f"rerank.{name}: {path} is no file; name a text file with one item id a line, or null")
        return replace(list_files(fs, location, "csv")[0], path=path)


def _is_relative(source: TableInput) -> bool:
    return "://" not in source.path and not os.path.isabs(os.path.expanduser(source.path))


def _listed(file: FileInfo, source: TableInput) -> ListedFile:
    path = os.path.relpath(file.path) if _is_relative(source) else file.path.removeprefix("s3://")
    tail, form = None, FORMATS[source.format]
    if may_grow(open_input(source.path)[0], file.path, form):
        file = _without_torn_line(file, form, source.encoding)
        tail = _tail_digest(file.path, file.size)
    return ListedFile(file=replace(file, path=path), tail=tail)


def _without_torn_line(file: FileInfo, form: InputFormat, encoding: str) -> FileInfo:
    size = whole_bytes(file, form, encoding)
    if size < file.size:
        logger.warning(
            "%s: its last line has no line break, and the file was changed less than %.0f s ago: the line may "
            "not be whole, and waits for the next night; end a finished file with a line break",
            *(file.path, STILL_WRITTEN_S),
        )
    return replace(file, size=size)


def _listed_feedback(file: FileInfo, config: Config) -> ListedFile:
    folder = Storage(config.storage).url(FEEDBACK_DIR)
    return ListedFile(file=replace(file, path=posixpath.relpath(file.path, folder)))


def _place(path: str, config: Config, name: InputName, source: TableInput) -> str:
    """Where a listed file is now."""
    if name == "feedback":
        return f"{Storage(config.storage).url(FEEDBACK_DIR)}/{path}"
    if source.path.startswith("s3://"):
        return f"s3://{path}"
    return os.path.abspath(path) if _is_relative(source) else path


def _replaced(fs: fsspec.AbstractFileSystem, listed: FileInfo, path: str) -> FileInfo | None:
    """A file that is still there but is listed no more: a table with a log has a newer version without it."""
    there = fs.isfile(path) and int(fs.size(path)) == listed.size
    return replace(listed, path=path) if there else None


def _only_grew(listed: ListedFile, now: FileInfo, *, is_feedback: bool) -> bool:
    """Whether the file holds what was listed, and what was appended since."""
    if is_feedback:  # the service never changes what it wrote: a moved warehouse has new times of change
        return now.size >= listed.file.size
    if now.size <= listed.file.size:
        return False
    return listed.tail is not None and _tail_digest(now.path, listed.file.size) == listed.tail


def _tail_digest(path: str, size: int) -> str:
    """Digest of the last bytes before a place of a local file."""
    start = max(0, size - _TAIL_BYTES)
    with open(path, "rb") as stream:
        stream.seek(start)
        return hashlib.sha256(stream.read(size - start)).hexdigest()[:16]
