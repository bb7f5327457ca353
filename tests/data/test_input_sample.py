"""The look at a user's files before there is a config."""

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.guesses.column_values import values_of
from recsys.data.guesses.input_sample import InputSample, sample_input
from recsys.errors import InputError
from recsys.storage.addresses import open_input

ROWS = "user{0}item{0}name\nu1{0}i1{0}Café\nu2{0}i2{0}Vase\n"


def look(path: Path) -> InputSample:
    return sample_input(*open_input(str(path)), str(path))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_delimiter_and_encoding_are_found(tmp_path: Path, delimiter: str, encoding: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(ROWS.format(delimiter).encode(encoding))
    sample = look(path)
    assert sample.source.delimiter == delimiter
    assert sample.source.encoding == ("cp1252" if encoding == "cp1252" else "utf-8")
    assert sample.rows["name"].to_pylist() == ["Café", "Vase"]


def test_a_delimiter_inside_texts_is_not_taken_for_that_of_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("user;item\nu1;a,b,c,d\nu2;e,f,g,h\n")
    assert look(path).rows.column_names == ["user", "item"]


@pytest.mark.parametrize(
    ("content", "said"),
    [("1|Lamp|0|0\n2|Vase|0|1\n", "the file has no header"), ("Sales;;\nuser;item;at\n", "delete the lines above")],
)
def test_a_header_that_cannot_be_used_is_told_with_the_right_delimiter(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises(InputError, match=said):
        look(tmp_path / "rows.csv")


def test_of_a_folder_the_first_and_the_last_file_of_the_commonest_format_are_read(tmp_path: Path) -> None:
    for day in range(1, 5):
        (tmp_path / f"{day}.jsonl").write_text(f'{{"user": {{"id": "u{day}"}}, "item": "i1"}}\n')
    (tmp_path / "notes.txt").write_text("no rows")
    sample = look(tmp_path)
    assert sample.source.format == "jsonl"
    assert sample.rows["user.id"].to_pylist() == ["u1", "u4"], "fields of objects are columns"
    assert look(tmp_path / "*.jsonl").rows.equals(sample.rows)


def test_columns_that_only_the_last_file_has_are_found(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("user,item\nu1,i1\n")
    (tmp_path / "2.csv").write_text("item,user,action\ni2,u2,view\n")
    assert look(tmp_path).rows.to_pylist() == [
        {"item": "i2", "user": "u2", "action": "view"},
        {"item": "i1", "user": "u1", "action": None},
    ]
    (tmp_path / "3.csv").write_text("item,action\ni3,buy\n")
    assert look(tmp_path).rows.to_pylist() == [{"user": "u1", "item": "i1"}], "a column of the first file is gone"


def test_the_first_file_with_more_than_ascii_says_the_encoding(tmp_path: Path) -> None:
    for name, text in (("1", "Vase"), ("2", "Café")):
        (tmp_path / f"{name}.csv").write_bytes(f"user,item\nu1,{text}\n".encode("cp1252"))
    assert look(tmp_path).rows["item"].to_pylist() == ["Vase", "Café"]
    (tmp_path / "1.csv").write_bytes("user,item\nu1,Café\n".encode())
    assert look(tmp_path).source.encoding == "utf-8"


def test_fields_of_structs_are_columns_once(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item": ["i1"], "brand": [{"name": "Acme", "seat": {"city": "Rome"}}]}), path)
    columns = values_of(look(path).rows, look(path).source)
    assert {name: values.examples for name, values in columns.items()} == {
        "item": ["i1"],
        "brand.name": ["Acme"],
        "brand.seat.city": ["Rome"],
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("order.csv", r"it does not exist; did you mean .*/orders\.csv\?"),
        ("*.tsv", "nothing matches it"),
        ("empty", r"there is no file that ends in \.parquet"),
        ("orders.csv", "has no rows to guess the columns from"),
    ],
)
def test_where_no_file_can_be_read_the_message_says_what_can(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "orders.csv").write_text("user,item\n")
    with pytest.raises(InputError, match=said):
        look(tmp_path / name)


def test_lines_that_are_no_rows_are_shown(tmp_path: Path) -> None:
    """Some data sets have Python's spelling instead of JSON."""
    (tmp_path / "rows.json").write_text("{'user': 'u1', 'item': 'i1'}\n" * 3)
    with pytest.raises(
        InputError, match=r"read as jsonl; .* in double quotes; the first is \{'user': 'u1', 'item': 'i1'\}"
    ):
        look(tmp_path / "rows.json")


@pytest.mark.parametrize("name", ["part-00000", "stream-2026-10-31-12-00"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_name_without_an_ending_says_nothing_of_the_format(tmp_path: Path, name: str, packed: bool) -> None:
    """Hive and Firehose write such names, compressed or not."""
    for form, text in {"csv": "user;name\nu1;Café\n", "jsonl": '\ufeff{"user": "u1", "name": "Café"}\n'}.items():
        (tmp_path / form).mkdir()
        (tmp_path / form / name).write_bytes(gzip.compress(text.encode()) if packed else text.encode())
        for path in (tmp_path / form, tmp_path / form / name, tmp_path / form / "*"):
            sample = look(path)
            assert (sample.source.format, sample.source.encoding) == (form, "utf-8")
            assert sample.rows.to_pylist() == [{"user": "u1", "name": "Café"}]
    pq.write_table(pa.table({"user": ["u1"]}), tmp_path / name)
    assert look(tmp_path / name).source.format == "parquet"


def test_files_of_a_header_alone_are_passed_over(tmp_path: Path) -> None:
    for number, rows in enumerate(["", "u1,i1\nu2,i2\n", ""]):
        (tmp_path / f"part-{number}.csv").write_text(f"user,item\n{rows}")
    assert look(tmp_path).rows.to_pylist() == [{"user": "u1", "item": "i1"}, {"user": "u2", "item": "i2"}]


@pytest.mark.parametrize("path", [".", "*"])
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """It is not said that there is no file."""
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "rows.csv").write_text("user,item\nu1,i1\n")
    scandir = os.scandir

    def refusing(folder: str) -> object:  # root may read every folder
        if str(folder).rstrip("/").endswith("locked"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InputError, match=r"cannot be listed: .*Permission denied: '.*/locked'"):
        look(tmp_path / path)
