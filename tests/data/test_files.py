import os
from pathlib import Path
from typing import Any

import fsspec
import pytest

from recsys.data.files.find_files import list_files
from recsys.errors import InputError

FS = fsspec.filesystem("file")


def test_a_folder_gives_its_files_of_the_format_sorted(tmp_path: Path) -> None:
    for name in ["b.csv", "a/z.CSV.gz", "c.json", "_tmp/x.csv", ".hidden.csv", "a/_SUCCESS", "m.inter", "p.parquet.gz"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a\n")

    def names(path: Path, form: Any) -> list[str]:
        return [str(Path(file.path).relative_to(tmp_path)) for file in list_files(FS, str(path), form)]

    assert names(tmp_path, "csv") == ["a/z.CSV.gz", "b.csv", "m.inter"]
    assert names(tmp_path, "jsonl") == ["c.json"]
    assert names(tmp_path / "c.json", "csv") == ["c.json"]
    assert names(tmp_path / "*.csv", "csv") == ["b.csv"]
    assert names(tmp_path / "*", "csv") == ["a/z.CSV.gz", "b.csv", "c.json", "m.inter", "p.parquet.gz"]
    with pytest.raises(InputError, match=r"p\.parquet\.gz.*decompress"):
        list_files(FS, str(tmp_path), "parquet")
    with pytest.raises(InputError, match="no parquet file"):
        list_files(FS, str(tmp_path / "a"), "parquet")
    with pytest.raises(InputError, match="nowhere"):
        list_files(FS, str(tmp_path / "nowhere"), "csv")


def test_a_version_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    (before,) = list_files(FS, str(path), "csv")
    path.write_text("a\n2\n")
    later = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(later, later))
    (after,) = list_files(FS, str(path), "csv")

    assert before.size == after.size == 4
    assert before.version != after.version


def names(folder: Path, form: str = "csv", path: str | None = None) -> list[str]:
    return [str(Path(file.path).relative_to(folder)) for file in list_files(FS, path or str(folder), form)]


def write(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("a\n")


def test_links_are_read_as_files(tmp_path: Path) -> None:
    write(tmp_path, "map/..2026/events.csv", "cache/ab/1234", "days/1.csv", "other/4/x.csv")
    config_map = tmp_path / "map"
    (config_map / "..data").symlink_to("..2026")
    (config_map / "events.csv").symlink_to("..data/events.csv")
    days = tmp_path / "days"
    (days / "2.csv").symlink_to(tmp_path / "cache" / "ab" / "1234")
    (days / "3.csv").symlink_to(tmp_path / "cache" / "ab" / "1234")  # two days with the same content
    (days / "4").symlink_to(tmp_path / "other" / "4")
    (days / "latest.csv").symlink_to("1.csv")  # the same file again
    (days / "circle").symlink_to(days)
    (tmp_path / "other" / "4" / "back").symlink_to(tmp_path / "other")
    (tmp_path / "linked").symlink_to(days)

    assert names(config_map) == ["events.csv"]
    assert names(days) == ["1.csv", "2.csv", "3.csv", "4/x.csv"]
    assert names(tmp_path / "linked") == ["1.csv", "2.csv", "3.csv", "4/x.csv"]
    assert names(days, path=f"{days}/[2-4]*") == ["2.csv", "3.csv", "4/x.csv"]
    assert list_files(FS, f"{days}/2.csv", "csv")[0].size == 2


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    write(tmp_path, "1.csv")
    (tmp_path / "2.csv").symlink_to("gone")
    for path in (tmp_path, tmp_path / "*.csv"):
        with pytest.raises(InputError, match=r"2\.csv: is a link to a file that does not exist"):
            list_files(FS, str(path), "csv")


def test_what_is_left_out_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "1.csv", "2.csv.bz2", "3.CSV.ZST", "part-00000", "000000_0.gz", "5.csv.zip", "d=_x/6.csv")
    write(tmp_path, "_SUCCESS", ".part-00000.crc", "_tmp/7.csv", "8.json", "notes.md", "9.csv.tmp", "events.xlsx")
    write(tmp_path, "all.zip", "old.csv.1", "old.csv-20261014.gz")
    (tmp_path / "0.csv").touch()

    for _ in range(2):
        assert names(tmp_path) == [
            *("000000_0.gz", "1.csv", "2.csv.bz2", "3.CSV.ZST", "5.csv.zip", "all.zip", "d=_x/6.csv"),
            *("old.csv-20261014.gz", "old.csv.1", "part-00000"),
        ]
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        f"{tmp_path}: left out (6), since they are no csv files, empty, hidden or read under another name: "
        "0.csv, 8.json, 9.csv.tmp, _tmp/7.csv, events.xlsx …"
    )


@pytest.mark.parametrize(
    ("found", "path", "why"),
    [
        ("shop/events/1.csv", "shop/event", r"does not exist; did you mean .*shop/events\?"),
        ("shop/events/1.csv", "shops/events", "does not exist; neither does its folder .*shops"),
        ("shop/1.parquet", "shop", "has files of another format: set `format: parquet`"),
        ("shop/1.json.gz", "shop", "has files of another format: set `format: jsonl`"),
        ("shop/sales.xlsx", "shop", "has a spreadsheet, sales.xlsx: export it as CSV"),
        ("shop/notes.md", "shop", r"a folder with \.csv, .* files, or a glob; it has notes\.md"),
        ("shop/_old/1.csv", "shop", "its files are empty or hidden: _old/1.csv"),
        ("shop/1.csv", "shop/*.tsv", "nothing matches it"),
        ("shop/1.csv", "shop/{1,2}.csv", r"alternatives such as \{1,2\} are not read: use \*, \? or \[ab\]"),
        ("shop/1.csv", "shop/{1,2}.*", r"alternatives such as \{1,2\} are not read"),
    ],
)
def test_a_path_without_files_is_refused_with_the_way_out(found: str, path: str, why: str, tmp_path: Path) -> None:
    write(tmp_path, found)
    with pytest.raises(InputError, match=f"no csv file there; .*{why}"):
        list_files(FS, f"{tmp_path}/{path}", "csv")


def test_empty_files_alone_are_no_input(tmp_path: Path) -> None:
    (tmp_path / "1.csv").touch()
    with pytest.raises(InputError, match=r"its files are empty or hidden: 1\.csv"):
        list_files(FS, str(tmp_path), "csv")
    assert not list_files(FS, str(tmp_path), "csv", required=False)


def test_a_glob_gives_no_hidden_and_no_empty_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Spark writes unfinished files into `_temporary`, Jupyter copies into `.ipynb_checkpoints`."""
    write(
        tmp_path, ".home/d/1.csv", ".home/d/e/2.csv", ".home/d/_temporary/0/3.csv", ".home/d/.ipynb_checkpoints/4.csv"
    )
    (tmp_path / ".home/d/0.csv").touch()
    folder = tmp_path / ".home/d"

    assert names(folder, path=f"{folder}/**/*.csv") == ["1.csv", "e/2.csv"]
    assert names(folder, path=f"{folder}/*/*.csv") == ["e/2.csv"]
    assert names(folder, path=f"{folder}/_temporary/*/*.csv") == ["_temporary/0/3.csv"], "the glob names it"
    assert f"{folder}/**/*.csv: left out (1)" in caplog.records[0].getMessage()
    with pytest.raises(InputError, match=r"its files are empty or hidden: .*0\.csv"):
        list_files(FS, f"{folder}/0.c*", "csv")
    assert names(folder, path=f"{folder}/0.csv") == ["0.csv"], "the reader says that it is empty"


@pytest.mark.parametrize("name", ["a.csv.tar.gz", "a.csv.snappy", "a.CSV.7z", "a.csv.lzo"])
def test_compressions_that_are_not_read_are_named(name: str, tmp_path: Path) -> None:
    write(tmp_path, "1.csv", name)
    with pytest.raises(InputError, match=rf"{name}: \.[a-z.7]* is not read; decompress it"):
        list_files(FS, str(tmp_path), "csv")


@pytest.mark.parametrize("folder", ["a#b", "a b", "a%20b", "é 日本", "a[1]", "what?", "star*", "data [2026] #1?"])
def test_a_path_that_exists_is_never_a_glob(folder: str, tmp_path: Path) -> None:
    write(tmp_path, f"{folder}/1 [x].csv", f"{folder}/2.csv", "a1/3.csv", "starry/4.csv")
    inside = tmp_path / folder

    assert names(inside) == ["1 [x].csv", "2.csv"]
    assert names(inside, path=f"{inside}/1 [x].csv") == ["1 [x].csv"]
    assert names(inside, path=f"{inside}/*.csv") == ["1 [x].csv", "2.csv"]
    with pytest.raises(InputError, match="is no glob that can be read"):
        list_files(FS, f"{inside}/x**.csv", "csv")
