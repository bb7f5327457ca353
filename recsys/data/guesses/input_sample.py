"""A look at the first rows of a user's files, before there is a config: their format, delimiter and encoding."""

import codecs
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import fsspec
import pyarrow as pa

from recsys.data.config import TableInput
from recsys.data.files.compression import decompressed, without_compression
from recsys.data.files.content import KIND_BYTES, PARQUET, content_kind, text_content
from recsys.data.files.decoding import Utf8Stream
from recsys.data.files.find_files import list_files
from recsys.data.files.folders import files_below
from recsys.data.files.readers import read_chunks
from recsys.data.formats.csv import read_csv
from recsys.data.formats.input_format import Chunk, FileInfo
from recsys.data.formats.registry import FORMATS
from recsys.errors import InputError

#: Rows that are looked at, of the first and of the last file.
SAMPLE_ROWS = 20_000
_LINE_CHARS = 100
_FIRST_BYTES = 1 << 20
#: How a file of JSON begins, after a byte-order mark.
_OBJECT = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\[\s*)?\{")
_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, kw_only=True)
class InputSample:
    """The first rows of an input, and how its files are read."""

    source: TableInput
    """With the path as the user wrote it."""
    rows: pa.Table
    """At most 2 × SAMPLE_ROWS rows, at least one, with the columns of one file; fields of structs are columns too.

    It is the last file where this has all columns of the first one and more, else the first.
    """


def sample_input(fs: fsspec.AbstractFileSystem, location: str, path: str) -> InputSample:
    """Look at a file, a folder or a glob.

    Args:
        fs: Where the files are.
        location: Its absolute address.
        path: The path as the user wrote it.

    Raises:
        InputError: no file can be read there, or none has a row.
    """
    files = _files(fs, location)
    form = _format_of(files[0].path) or _format_by_content(fs, files[0])
    source = TableInput(path=path, format=form)
    if form == "csv":
        encoding = _encoding(fs, files)
        source = source.model_copy(update={"encoding": encoding, "delimiter": _delimiter(fs, files[0], encoding)})
    looked_at = [_first_chunk(fs, file, source) for file in dict.fromkeys([files[0], files[-1]])]
    tables = [chunk.table.slice(0, SAMPLE_ROWS) for chunk in looked_at if len(chunk.table)]
    if not tables:  # Spark writes files of a header alone
        largest = _first_chunk(fs, max(files, key=lambda file: file.size), source)
        if not len(largest.table):
            raise InputError(f"{path}: {_why_no_rows(largest, form)}")
        tables = [largest.table.slice(0, SAMPLE_ROWS)]
    return InputSample(source=source, rows=_joined(tables))


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of the first and the last file. The last one may have more columns: older files may lack some."""
    first, last = tables[0], tables[-1]
    if set(first.column_names) < set(last.column_names):
        try:
            return pa.concat_tables([last, first], promote_options="default").select(last.column_names)
        except pa.ArrowException:  # its columns have other types
            return last
    return pa.concat_tables([table for table in tables if table.schema == first.schema])


def _files(fs: fsspec.AbstractFileSystem, location: str) -> list[FileInfo]:
    """The files of the format that most names there say; without such names all that the night reads."""
    if fs.isfile(location):
        return list_files(fs, location, _format_of(location) or "csv")
    try:
        folders = [location] if fs.isdir(location) else fs.glob(location)
        names = [name for folder in folders for name in _names(fs, folder)]
    except OSError as error:
        raise InputError(f"{location}: cannot be listed: {error}") from error
    if not names and not fs.isdir(location):
        return list_files(fs, location, _format_of(location) or "csv")  # it says why there is none
    formats = Counter(filter(None, map(_format_of, names)))
    if formats:
        return list_files(fs, location, formats.most_common(1)[0][0])
    if files := list_files(fs, location, "csv", required=False):
        return files
    known = ", ".join(ending for form in FORMATS for ending in form.endings)
    raise InputError(f"{location}: there is no file that ends in {known}; name a file, a folder or a glob")


def _names(fs: fsspec.AbstractFileSystem, path: str) -> list[str]:
    """The file, or the files below the folder. Unlike `fs.find` it fails at a folder that cannot be read."""
    return [file.info.path for file in files_below(fs, path)] if fs.isdir(path) else [path]


def _format_of(path: str) -> str | None:
    """The format that the file's name says."""
    plain = without_compression(path)
    return next((form.name for form in FORMATS if plain.endswith(form.endings)), None)


def _format_by_content(fs: fsspec.AbstractFileSystem, file: FileInfo) -> str:
    """The format of a file whose name says none, such as `part-00000`."""
    with fs.open(file.path, "rb") as stream:
        if content_kind(stream.read(KIND_BYTES))[0] == PARQUET:
            return "parquet"
    return "jsonl" if _OBJECT.match(_first_bytes(fs, file)) else "csv"


def _first_chunk(fs: fsspec.AbstractFileSystem, file: FileInfo, source: TableInput) -> Chunk:
    return next(read_chunks(fs, file.path, source))


def _why_no_rows(chunk: Chunk, form: str) -> str:
    if not len(chunk.malformed):
        return "has no rows to guess the columns from; name files with rows"
    line = json.loads(chunk.malformed["row"][0].as_py())["raw"][:_LINE_CHARS]
    must = "each line must be one JSON object, with its names and texts in double quotes; " if form == "jsonl" else ""
    return f"none of its first lines can be read as {form}; {must}the first is {line}"


def _encoding(fs: fsspec.AbstractFileSystem, files: Sequence[FileInfo]) -> str:
    """`utf-8`, also for files with a byte-order mark; `cp1252` where the first bytes are no UTF-8.

    The first file that has more than ASCII decides, of the first and the last one.
    """
    for file in (files[0], files[-1]):
        text = _first_bytes(fs, file)
        if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-8"
        if text.isascii():
            continue
        try:
            codecs.getincrementaldecoder("utf-8")().decode(text)  # its last character may be cut
        except UnicodeDecodeError:
            return "cp1252"
        return "utf-8"
    return "utf-8"


def _delimiter(fs: fsspec.AbstractFileSystem, file: FileInfo, encoding: str) -> str:
    """The one that gives the most columns; where no header can be used, the one that its first line has most often."""
    text = _first_bytes(fs, file)
    num_columns = dict.fromkeys(_DELIMITERS, 0)
    for delimiter in _DELIMITERS:
        try:
            chunk = next(read_csv(io.BytesIO(text), file.path, encoding=encoding, delimiter=delimiter))
        except InputError:
            continue  # another delimiter fits; if none does, the reader says what is wrong with the header
        num_columns[delimiter] = chunk.table.num_columns
    first = Utf8Stream(io.BytesIO(text), encoding).read().partition(b"\n")[0].decode()
    return max(num_columns, key=lambda delimiter: (num_columns[delimiter], first.count(delimiter)))


def _first_bytes(fs: fsspec.AbstractFileSystem, file: FileInfo) -> bytes:
    with fs.open(file.path, "rb") as stream:
        return bytes(text_content(decompressed(stream, file.path), file.path).read(_FIRST_BYTES))
