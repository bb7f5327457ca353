"""The index of compact files of feedback: which of them count, and which files of the service each of them replaces.

A compact file and its table of sources are written first. Then the index names the file: in this step the sources stop
counting and the compact file begins to count. The sources are deleted later. So each event is in exactly one file that
counts, wherever a process is killed.
"""

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pyarrow as pa
from pydantic import ConfigDict

from recsys.config.strict_json import STRICT, as_json, from_json
from recsys.data.events.feedback import FEEDBACK_DIR
from recsys.data.events.feedback_names import compact_day, stored_day
from recsys.data.files.text_pieces import Piece
from recsys.data.formats.input_format import FileInfo
from recsys.errors import InputError
from recsys.storage.filesystem import Storage
from recsys.storage.json_files import to_json
from recsys.storage.record_kinds import FEEDBACK_INDEX
from recsys.storage.tables import read_table

#: Listings of the folder, also those of older versions, leave out names that begin with `_`.
INDEX_PATH = f"{FEEDBACK_DIR}/_COMPACTED"
SOURCES_DIR = f"{FEEDBACK_DIR}/_sources"
#: Sources of a compact file, in their order. Of each, the first `bytes` of its `size` bytes are at `offset` of the
#: text; the rest is a line that was never finished.
SOURCES = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True)
class CompactFile:
    """A compact file that counts."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    sources: int
    """Files that it replaces."""
    bytes: int
    sha256: str
    committed_at: str
    """ISO 8601, UTC."""

    @property
    def day(self) -> dt.date:
        """The day of its events."""
        day = compact_day(self.name)
        if day is None:
            raise ValueError(f"{self.name!r} is no name of a compact file")
        return day

    @property
    def path(self) -> str:
        """Below the storage root, as are all paths here."""
        return f"{FEEDBACK_DIR}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class FeedbackIndex:
    """What the index says."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    changes: int = 0
    """How often it was changed: no two states are equal."""
    files: tuple[CompactFile, ...] = ()


@dataclass(frozen=True, slots=True)
class MergedSource:
    """Where a file of the service is in a compact file; see `SOURCES`."""

    size: int
    offset: int
    bytes: int


def sources_path(name: str) -> str:
    """The table of sources of a compact file."""
    return f"{SOURCES_DIR}/{name.partition('.')[0]}.parquet"


def read_index(storage: Storage) -> tuple[FeedbackIndex, bytes | None]:
    """The index, and the bytes of its file; an empty index and None where there is no file.

    Raises:
        InputError: it is damaged.
        NewerFormatError: a newer release wrote it.
    """
    try:
        data = storage.read_bytes(INDEX_PATH)
    except FileNotFoundError:
        return FeedbackIndex(), None
    return _decode(data, storage.url(INDEX_PATH)), data


def change_index(
    storage: Storage, index: FeedbackIndex, data: bytes | None, files: Iterable[CompactFile]
) -> tuple[FeedbackIndex, bytes] | None:
    """Replace the index that `read_index` gave; None if another process has changed it meanwhile."""
    named = tuple(sorted(files, key=lambda file: file.name))
    new = replace(index, changes=index.changes + 1, files=named)
    changed = to_json(FEEDBACK_INDEX.stamp(as_json(new)))
    if storage.swap_bytes(INDEX_PATH, changed, data):
        return new, changed
    # The answer to our own change may have been lost on the network.
    return (new, changed) if read_index(storage)[1] == changed else None


def check_index(storage: Storage, data: bytes | None, names: Iterable[str]) -> None:
    """Refuse to go on without an index where there are compact files.

    Raises:
        InputError: there is none.
    """
    if data is None and any(compact_day(name) is not None for name in names):
        raise InputError(
            f"{storage.url(INDEX_PATH)}: is gone, and says which of the compact files of feedback count; restore it, "
            f"or decompress each *-compact-*.jsonl.zst to a name that ends in .jsonl, and delete the compact file"
        )


def read_sources(storage: Storage, name: str) -> dict[str, MergedSource]:
    """The sources of a compact file by their names.

    Raises:
        InputError: their table is damaged or gone.
    """
    try:
        table = read_table(storage, sources_path(name), SOURCES.names)
    except InputError as error:
        raise InputError(
            f"{storage.url(sources_path(name))}: is damaged or gone, and says which files {name} replaces; restore it "
            f"({error})"
        ) from error
    columns = [table[name].to_pylist() for name in SOURCES.names]
    return {name: MergedSource(size, offset, num) for name, size, offset, num in zip(*columns, strict=True)}


def counted_files(storage: Storage, found: Sequence[FileInfo]) -> list[FileInfo]:
    """Those of the files in the folder of feedback that count, sorted by path.

    Args:
        storage: The storage.
        found: Files that were listed before this call, with paths as `Storage.url` gives them.

    Raises:
        InputError: a compact file is gone, or the index is gone or damaged.
    """
    index, data = read_index(storage)
    names = {_name(storage, file.path): file for file in found}
    check_index(storage, data, names)
    counted = {file.name: file for file in index.files}
    days = {day for name in names if (day := stored_day(name)) is not None}
    sources: dict[str, MergedSource] = {}
    for file in index.files:
        if file.day in days:
            sources |= read_sources(storage, file.name)
    kept: list[FileInfo] = [_present(storage, file) for name, file in counted.items() if name not in names]
    for name, info in names.items():
        if compact_day(name) is not None:
            kept += [info] if name in counted else []
        elif (source := sources.get(name)) is None or info.size > source.size:
            kept.append(info)  # larger: an older version, which has no locks, wrote on; `event_id` drops the repeats
    return sorted(kept, key=lambda file: file.path)


def replaced_files(storage: Storage, missing: Sequence[FileInfo]) -> tuple[list[FileInfo], set[str]]:
    """Where the text of files is that were listed once and are gone: in compact files, and which parts of them.

    Returns:
        The compact files with these parts, and the paths of the missing files that they replace.
    """
    wanted = {_name(storage, file.path): file.size for file in missing}
    days = {day for name in wanted if (day := stored_day(name)) is not None}
    index, _ = read_index(storage) if days else (FeedbackIndex(), None)
    found: list[FileInfo] = []
    replaced: set[str] = set()
    for file in index.files:
        if file.day in days:
            sources = read_sources(storage, file.name)
            found += _parts(storage, file, sources, wanted)
            replaced |= sources.keys() & wanted.keys()
    return found, {f"{storage.url(FEEDBACK_DIR)}/{name}" for name in replaced}


def _parts(
    storage: Storage, file: CompactFile, sources: Mapping[str, MergedSource], wanted: Mapping[str, int]
) -> list[FileInfo]:
    """The part of a compact file that holds the first bytes of the wanted sources; none if it holds none."""
    pieces: list[Piece] = []
    for name, source in sources.items():
        if name in wanted:
            first, last = source.offset, source.offset + min(wanted[name], source.bytes)
            if last == first:
                continue
            if pieces and pieces[-1][1] == first:
                first = pieces.pop()[0]
            pieces.append((first, last))
    if not pieces:
        return []
    info = _present(storage, file)
    if all(wanted.get(name, -1) >= source.bytes for name, source in sources.items()):
        return [info]
    return [replace(info, size=sum(last - first for first, last in pieces), pieces=tuple(pieces))]


def _name(storage: Storage, path: str) -> str:
    """Name in the folder of feedback; that of a file in a folder below is no name of ours."""
    return path.removeprefix(f"{storage.url(FEEDBACK_DIR)}/")


def _present(storage: Storage, file: CompactFile) -> FileInfo:
    if not storage.exists(file.path):
        raise InputError(
            f"{storage.url(file.path)}: is gone, and held the feedback of {file.day}; restore it, or take it out of "
            f"{storage.url(INDEX_PATH)} to go on without its events"
        )
    return FileInfo(path=storage.url(file.path), size=file.bytes, version=file.sha256)


def _decode(data: bytes, url: str) -> FeedbackIndex:
    try:
        index = from_json(FeedbackIndex, FEEDBACK_INDEX.current(json.loads(data), url))
        return replace(index, files=tuple(file for file in index.files if file.day))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{url}: is damaged ({error}); restore it from a copy") from error
