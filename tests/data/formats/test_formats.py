"""What holds for every input format, also for that of a plugin."""

import bz2
import gzip
import io
import json
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.config import TableInput
from recsys.data.files.estimates import estimate_rows
from recsys.data.files.find_files import list_files
from recsys.data.files.read_tasks import plan_reads
from recsys.data.files.readers import Chunk, read_chunks
from recsys.data.formats.registry import FORMATS
from recsys.errors import ConfigError, InputError
from recsys.schema import QUARANTINE
from recsys.settings import decode_config

FS = fsspec.filesystem("file")
Row = dict[str, str | None]

sys.path.insert(0, str(Path(__file__).parent))
PLUGIN = {
    "plugins": ["commented_tsv"],
    "inputs": {
        "events": {"path": "events", "format": "commented_tsv"},
        "items": {"path": "items", "text": "{title}"},
    },
}
decode_config(PLUGIN)


@dataclass(frozen=True)
class Example:
    """How the files of a format are written."""

    write: Callable[[list[Row]], bytes]
    """Rows of the columns `user` and `note`."""
    malformed: str | None
    """A line that is not a row; None: the format has no lines."""


def _delimited(delimiter: str, rows: list[Row], comment: str = "") -> bytes:
    lines = [delimiter.join(["user", "note"])]
    lines += [delimiter.join('"' + (value or "").replace('"', '""') + '"' for value in row.values()) for row in rows]
    return (comment + "".join(f"{line}\n" for line in lines)).encode()


def _parquet(rows: list[Row]) -> bytes:
    table = pa.Table.from_pylist(rows, schema=pa.schema([("user", pa.string()), ("note", pa.string())]))
    stream = io.BytesIO()
    pq.write_table(table, stream, row_group_size=100)
    return stream.getvalue()


def _jsonl(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


#: A format that is added here or by a plugin needs an example.
EXAMPLES = {
    "parquet": Example(_parquet, None),
    "csv": Example(lambda rows: _delimited(",", rows), "one,two,three"),
    "jsonl": Example(_jsonl, '{"user": "half'),
    "commented_tsv": Example(lambda rows: _delimited("\t", rows, "# a comment\n"), "one\ttwo\tthree"),
}
ROWS: list[Row] = [
    {"user": "ann", "note": 'a, "b"\tc'},
    {"user": "ü 007", "note": None},
    {"user": " bo ", "note": "日本 🎁 مرحبا"},
]
MANY: list[Row] = [{"user": f"u{number:05}", "note": "x" * (number % 7)} for number in range(2_000)]


@pytest.fixture(params=FORMATS.names)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def example(name: str) -> Example:
    assert name in EXAMPLES, f"write an example for the format {name}"
    return EXAMPLES[name]


def chunks(path: Path, name: str) -> list[Chunk]:
    found = list(read_chunks(FS, str(path), TableInput(path="unused", format=name)))
    assert all(chunk.malformed.schema == QUARANTINE for chunk in found)
    return found


def rows_of(found: list[Chunk]) -> list[Row]:
    """Rows; the empty text and null are one, since CSV cannot tell them from each other."""
    rows = [row for chunk in found for row in chunk.table.to_pylist()]
    return [{key: value or None for key, value in row.items()} for row in rows]


def test_rows_are_read_as_they_were_written(name: str, example: Example, tmp_path: Path) -> None:
    path = tmp_path / f"a{FORMATS[name].endings[0]}"
    path.write_bytes(example.write(ROWS))

    found = chunks(path, name)

    assert rows_of(found) == ROWS
    assert not any(len(chunk.malformed) for chunk in found)


_CELLS = st.none() | st.text(st.characters(exclude_categories=["Cc", "Cs", "Co", "Cn"]), min_size=1, max_size=8)
_ROWS = st.builds(lambda user, note: {"user": user, "note": note}, _CELLS, _CELLS)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rows=st.lists(_ROWS, min_size=1, max_size=5))
def test_every_text_is_read_as_it_was_written(data: st.DataObject, rows: list[Row]) -> None:
    name = data.draw(st.sampled_from(FORMATS.names))
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/written", EXAMPLES[name].write(rows))

    found = list(read_chunks(memory, "/written", TableInput(path="unused", format=name)))

    assert rows_of(found) == rows
    assert not any(len(chunk.malformed) for chunk in found)


def test_lines_that_are_not_rows_are_kept_as_they_were(name: str, example: Example, tmp_path: Path) -> None:
    if example.malformed is None:
        assert name == "parquet"
        return
    path = tmp_path / f"a{FORMATS[name].endings[0]}"
    content = example.write(ROWS[:1]) + example.malformed.encode() + b"\n"
    path.write_bytes(content + example.write(ROWS).removeprefix(example.write([])))

    found = chunks(path, name)

    assert rows_of(found) == ROWS[:1] + ROWS
    ((source, row, reason),) = [
        (bad["source"], json.loads(bad["row"]), bad["reason"]) for chunk in found for bad in chunk.malformed.to_pylist()
    ]
    assert (source, row, reason) == (str(path), {"raw": example.malformed}, "malformed_row")


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside.txt", content)
        archive.writestr("__MACOSX/._inside.txt", b"")
    return stream.getvalue()


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    ".GZ": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: bytes(pa.Codec("zstd").compress(content, asbytes=True)),
    ".lz4": lambda content: bytes(pa.Codec("lz4").compress(content, asbytes=True)),
    ".zip": zipped,
}


@pytest.mark.parametrize("compression", COMPRESSED)
def test_compressed_files(name: str, example: Example, tmp_path: Path, compression: str) -> None:
    path = tmp_path / f"a{FORMATS[name].endings[0]}{compression}"
    packed = COMPRESSED[compression](example.write(MANY))
    path.write_bytes(packed)

    if not FORMATS[name].compressible:
        with pytest.raises(InputError, match=f"{path.name}.*decompress"):
            list_files(FS, str(tmp_path), name)
        return
    assert [file.path for file in list_files(FS, str(tmp_path), name)] == [str(path)]
    assert rows_of(chunks(path, name)) == [row | {"note": row["note"] or None} for row in MANY]
    for broken in (packed[:-30], example.write(ROWS)):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=path.name):
            chunks(path, name)
        with pytest.raises(InputError, match=path.name):
            estimate_rows(FS, list_files(FS, str(path), name), name)


@pytest.mark.parametrize("compression", COMPRESSED)
@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_content_that_is_compressed_without_saying_so(name: str, tmp_path: Path, compression: str) -> None:
    (tmp_path / "part-0").write_bytes(COMPRESSED[compression](EXAMPLES[name].write(ROWS)))

    assert rows_of(chunks(tmp_path / "part-0", name)) == ROWS


def _workbook() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
    return stream.getvalue()


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.csv"), io.BytesIO())
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_parquet(ROWS), "a Parquet file.*format: parquet"),
        (_workbook(), "spreadsheet.*export it as CSV"),
        (_tar(), "tar archive.*unpack"),
        (gzip.compress(_tar()), "tar archive.*unpack"),
        (b"<!DOCTYPE html><html>", "HTML page"),
        (b"SQLite format 3\0", "SQLite.*export"),
        (b"ORC\n\x0b\n\x03\0\0\0\x12\x04", "ORC file.*convert it to Parquet"),
    ],
    ids=["parquet", "workbook", "tar", "tar.gz", "html", "sqlite", "orc"],
)
@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_what_is_no_text_is_refused_by_name(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(content)

    with pytest.raises(InputError, match=rf"data\.csv: is .*{said}"):
        chunks(tmp_path / "data.csv", name)


def test_what_is_not_parquet_is_refused_by_name(tmp_path: Path) -> None:
    for content, said in ((b"user,item\n", "no Parquet file: it begins with b'user,item"), (_tar(), "a tar archive")):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(InputError, match=rf"a\.parquet: is {said}"):
            chunks(tmp_path / "a.parquet", "parquet")


def test_partition_folders_are_columns(name: str, example: Example, tmp_path: Path) -> None:
    days = ["date=2026-10-14/shop=a%2Fb %C3%A9", "date=__HIVE_DEFAULT_PARTITION__/shop=x/note=file wins"]
    for day in days:
        (tmp_path / day).mkdir(parents=True)
        (tmp_path / day / f"a{FORMATS[name].endings[0]}").write_bytes(example.write(ROWS))

    found = [rows_of(chunks(Path(file.path), name)) for file in list_files(FS, str(tmp_path), name)]

    assert found == [
        [row | {"date": "2026-10-14", "shop": "a/b é"} for row in ROWS],
        [row | {"date": None, "shop": "x"} for row in ROWS],
    ]


def test_files_without_rows(name: str, example: Example, tmp_path: Path) -> None:
    path = tmp_path / f"void{FORMATS[name].endings[0]}"
    header = example.write([])
    if header:
        path.write_bytes(header)
        (chunk,) = chunks(path, name)
        assert chunk.table.num_rows == 0
        assert chunk.table.column_names == ["user", "note"]
        assert estimate_rows(FS, list_files(FS, str(path), name), name) == 0
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"void.*empty|void.*0 bytes"):
        chunks(path, name)
    with pytest.raises(InputError, match="gone"):
        chunks(tmp_path / "gone", name)


@pytest.mark.parametrize("target_bytes", [1, 2_000, 1 << 30])
def test_the_tasks_read_every_row_once_and_in_order(
    name: str, example: Example, tmp_path: Path, target_bytes: int
) -> None:
    for start in range(0, len(MANY), 500):
        path = tmp_path / f"{start:05}{FORMATS[name].endings[-1]}"
        path.write_bytes(example.write(MANY[start : start + 500]))
    files = list_files(FS, str(tmp_path), name)
    options = TableInput(path="unused", format=name)

    tasks = plan_reads(FS, files, name, target_bytes)

    read = [
        row["user"]
        for task in tasks
        for file in task.files
        for chunk in read_chunks(FS, file, options, task.span)
        for row in chunk.table.to_pylist()
    ]
    assert read == [row["user"] for row in MANY]
    assert [task.index for task in tasks] == list(range(len(tasks)))
    assert len(tasks) == 1 if target_bytes == 1 << 30 else len(tasks) >= len(files)


@pytest.mark.parametrize("copies", [1, 12])
def test_the_number_of_rows_is_estimated_within_a_fifth(
    name: str, example: Example, tmp_path: Path, copies: int
) -> None:
    for number in range(copies):
        (tmp_path / f"{number}{FORMATS[name].endings[0]}").write_bytes(example.write(MANY))
        if FORMATS[name].compressible:
            packed = gzip.compress(example.write(MANY))
            (tmp_path / f"{number}{FORMATS[name].endings[0]}.gz").write_bytes(packed)
    files = list_files(FS, str(tmp_path), name)

    assert estimate_rows(FS, files, name) == pytest.approx(len(MANY) * len(files), rel=0.2)


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    raw = {"inputs": PLUGIN["inputs"] | {"items": {"path": "items", "format": "xlsx", "text": "{title}"}}}  # type: ignore[operator]

    with pytest.raises(
        ConfigError, match=r"^inputs\.items\.format: must be one of parquet, csv, jsonl.*commented_tsv, got 'xlsx'"
    ):
        decode_config(raw)
