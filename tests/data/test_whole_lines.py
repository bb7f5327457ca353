"""Of a file that may still be written, the lines that are whole."""

import gzip
import os
from pathlib import Path

import fsspec
import pytest

from recsys.data.files.whole_lines import may_grow, whole_bytes
from recsys.data.formats.input_format import FileInfo
from recsys.data.formats.registry import FORMATS

TORN = "user_id,item_id,timestamp\nu1,i1,2026-11-20\nu2,i2,2026-11-2"


def cut(path: Path, content: bytes, form: str = "csv", encoding: str = "utf-8") -> bytes:
    """The part of the content that is read."""
    path.write_bytes(content)
    return content[: whole_bytes(FileInfo(path=str(path), size=len(content), version=""), FORMATS[form], encoding)]


@pytest.mark.parametrize(
    ("content", "form", "whole"),
    [
        pytest.param(TORN, "csv", TORN[:-15], id="torn"),
        pytest.param(TORN + "0\n", "csv", TORN + "0\n", id="whole lines"),
        pytest.param("a,b\r\n1,2\r\n3", "csv", "a,b\r\n1,2\r\n", id="Windows"),
        pytest.param("a,b\r1,2\r3", "csv", "a,b\r1,2\r", id="carriage returns"),
        pytest.param("a,b\n" + "x" * 200_000, "csv", "a,b\n", id="a long line"),
        pytest.param("user_id,item", "csv", "user_id,item", id="one line"),
        pytest.param("", "csv", "", id="empty"),
        pytest.param('{"a": 1}\n{"a": 1', "jsonl", '{"a": 1}\n', id="torn object"),
        pytest.param('{"a": 1}\n{"a": 12}', "jsonl", '{"a": 1}\n{"a": 12}', id="whole object"),
        pytest.param('[\n{"a": 1}\n]', "jsonl", '[\n{"a": 1}\n]', id="array"),
    ],
)
def test_a_torn_last_line_is_left_out(content: str, form: str, whole: str, tmp_path: Path) -> None:
    assert cut(tmp_path / "x", content.encode(), form) == whole.encode()


def test_a_file_that_was_not_changed_lately_is_read_whole(tmp_path: Path) -> None:
    cut(tmp_path / "x", TORN.encode())
    os.utime(tmp_path / "x", (1e9, 1e9))
    file = FileInfo(path=str(tmp_path / "x"), size=len(TORN), version="")
    assert whole_bytes(file, FORMATS["csv"], "utf-8") == len(TORN)


def test_what_has_no_line_breaks_of_one_byte_is_read_whole(tmp_path: Path) -> None:
    for content, encoding in (
        (TORN.encode("utf-16"), "utf-8"),
        (TORN.encode("utf-16-le"), "utf-16-le"),
        (gzip.compress(TORN.encode()) + b"\nx", "utf-8"),
        (TORN.encode(), "no such encoding"),
    ):
        assert cut(tmp_path / "x", content, encoding=encoding) == content


def test_only_plain_text_on_a_disk_may_grow() -> None:
    local, remote = fsspec.filesystem("file"), fsspec.filesystem("memory")
    assert may_grow(local, "/a/events.csv", FORMATS["csv"])
    assert may_grow(local, "/a/events.JSONL", FORMATS["jsonl"])
    assert not may_grow(local, "/a/events.csv.GZ", FORMATS["csv"])
    assert not may_grow(local, "/a/events.parquet", FORMATS["parquet"])
    assert not may_grow(remote, "/a/events.csv", FORMATS["csv"])
