import itertools
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import InputError
from recsys.schema import HISTORIES, RECOMMENDATIONS
from recsys.storage.filesystem import Storage
from recsys.storage.lookup import KeyedFiles, _Recent
from recsys.storage.object_file import ObjectFile
from recsys.storage.tables import write_table

#: Keys that share so long a beginning that Arrow leaves the statistics of their row groups out.
LONG = "é" * 2500
keys = st.one_of(st.text(max_size=3), st.sampled_from("abc"), st.integers(0, 9).map(lambda number: f"{LONG}{number}"))


@pytest.fixture
def storage(root: str) -> Storage:
    return Storage(root)


def lists(users: list[str], num: int = 20) -> pa.Table:
    rows = [
        {"user_id": user, "rank": rank, "item_id": f"i{rank}", "score": -rank / 7, "source": "ranker"}
        | {"reason": f"similar to {user}", "variant": "default"}
        for user in users
        for rank in range(1, num + 1)
    ]
    return pa.Table.from_pylist(rows, schema=RECOMMENDATIONS)


def brute_force(table: pa.Table, key: str) -> pa.Table:
    return table.filter(pa.array([value == key for value in table["user_id"].to_pylist()], pa.bool_()))


@settings(max_examples=40)
@given(
    users=st.lists(keys, max_size=30),
    asked=st.lists(keys, max_size=5),
    group=st.integers(1, 40),
    num=st.integers(1, 5),
    in_order=st.booleans(),
)
def test_look_ups_find_what_a_scan_finds(
    users: list[str], asked: list[str], group: int, num: int, in_order: bool
) -> None:
    table = lists(sorted(users) if in_order else users, num)
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(folder)
        write_table(storage, "a.parquet", table, RECOMMENDATIONS, row_group_size=group)
        files = KeyedFiles(storage, {"a": "a.parquet"}, "user_id", answer_bytes=30_000)
        for key in (*users, *asked, "", "\0", "~", "\U0010ffff", LONG, f"{LONG}5"):
            found = files.rows("a", key)
            assert found.equals(brute_force(table, key))
            assert found.schema.equals(RECOMMENDATIONS, check_metadata=True)
            assert files.rows("a", key).equals(found), "kept otherwise than it was read"


def test_lists_and_histories_are_found_in_their_files(storage: Storage) -> None:
    by_file = {name: lists([f"{name}{number:03d}" for number in range(50)]) for name in "ab"}
    for name, table in by_file.items():
        write_table(storage, f"night/{name}.parquet", table, RECOMMENDATIONS, row_group_size=110)
    files = KeyedFiles(storage, {name: f"night/{name}.parquet" for name in by_file}, "user_id")
    for name, number in itertools.product("ab", (0, 5, 49)):
        user = f"{name}{number:03d}"
        assert files.rows(name, user).equals(by_file[name].slice(20 * number, 20)), user
    assert len(files.rows("a", "b001")) == 0
    empty: dict[str, Any] = {name: [] for name in HISTORIES.names}
    rows = [empty | {"user_id": f"u{n}", "item_ids": ["i"] * n} for n in range(9)]
    histories = pa.Table.from_pylist(rows, schema=HISTORIES)
    write_table(storage, "h.parquet", histories, HISTORIES, row_group_size=4)
    found = KeyedFiles(storage, {"h": "h.parquet"}, "user_id").rows("h", "u7")
    assert found.equals(histories.slice(7, 1))


def test_an_empty_file_has_no_rows_but_its_schema(storage: Storage) -> None:
    write_table(storage, "a.parquet", iter(()), RECOMMENDATIONS)
    assert KeyedFiles(storage, {"a": "a.parquet"}, "user_id").rows("a", "u").equals(RECOMMENDATIONS.empty_table())


def test_half_a_surrogate_pair_is_no_key(storage: Storage) -> None:
    write_table(storage, "a.parquet", lists(["u"]), RECOMMENDATIONS)
    assert len(KeyedFiles(storage, {"a": "a.parquet"}, "user_id").rows("a", "\ud800")) == 0


def test_bounds_that_were_cut_short_still_hold(tmp_path: Path) -> None:
    """As other writers leave them: the beginning of a key, and something above the beginnings of all."""
    names = [f"x{'é' * 40}{number:02d}" for number in range(40)]
    polars.DataFrame({"user_id": names, "n": range(40)}).write_parquet(tmp_path / "a.parquet", row_group_size=7)
    bound = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(2).column(0).statistics
    assert bound.has_min_max
    assert len(bound.min_raw) < len(names[0].encode())
    files = KeyedFiles(Storage(str(tmp_path)), {"a": "a.parquet"}, "user_id")
    assert [files.rows("a", name)["n"].to_pylist() for name in names] == [[number] for number in range(40)]
    assert len(files.rows("a", "x" + "é" * 40)) == 0


def groups_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The row groups that are decoded from now on."""
    groups: list[int] = []
    read = pq.ParquetFile.read_row_group

    def noted(file: pq.ParquetFile, group: int, *args: Any, **options: Any) -> pa.Table:
        groups.append(group)
        return read(file, group, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    return groups


def test_only_the_row_groups_that_may_hold_the_key_are_read_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))
    users = [f"u{2 * number:03d}" for number in range(30)]
    write_table(storage, "a.parquet", lists(users), RECOMMENDATIONS, row_group_size=50)
    files = KeyedFiles(storage, {"a": "a.parquet"}, "user_id")
    groups = groups_read(monkeypatch)
    for key, expected in (("u000", [0]), ("u004", [0, 1]), ("u006", [1]), ("u007", [1]), ("t", []), ("v", [])):
        files.rows("a", key)
        assert groups == expected, key
        files.rows("a", key)
        assert groups == expected, f"{key} was read again"
        groups.clear()


def test_on_s3_a_look_up_is_one_request(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(s3_root)
    write_table(storage, "a.parquet", lists([f"u{n:04d}" for n in range(2000)]), RECOMMENDATIONS, row_group_size=2000)
    files = KeyedFiles(storage, {"a": "a.parquet"}, "user_id")
    reads: list[int] = []
    readinto = ObjectFile.readinto

    def noted(file: ObjectFile, buffer: Any) -> int:
        reads.append(readinto(file, buffer))
        return reads[-1]

    monkeypatch.setattr(ObjectFile, "readinto", noted)
    assert len(files.rows("a", "u0000")) == 20
    assert len(reads) == 2, "the footer, then the row group"
    assert len(files.rows("a", "u1234")) == 20
    assert len(reads) == 3
    assert reads[-1] < sum(storage.sizes("").values()) / 5


def test_many_threads_ask_at_once(storage: Storage) -> None:
    users = [f"u{number:03d}" for number in range(60)]
    table = lists(users, 5)
    for name in "ab":
        write_table(storage, name, table, RECOMMENDATIONS, row_group_size=33)
    # Room for few footers and answers, so that they come and go meanwhile.
    files = KeyedFiles(storage, {name: name for name in "ab"}, "user_id", footer_bytes=1, answer_bytes=60_000)
    start = threading.Barrier(8)

    def look_up(number: int) -> bool:
        start.wait(timeout=60)
        places = [(number * 13 + step * 7) % 60 for step in range(20)]
        return all(
            files.rows("ab"[step % 2], users[at]).equals(table.slice(5 * at, 5)) for step, at in enumerate(places)
        )

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(look_up, range(8)))


def test_memory_stays_within_a_row_group_and_what_is_kept(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    users = [f"u{number:05d}" for number in range(2000)]
    table = lists(users)
    write_table(storage, "a.parquet", table, RECOMMENDATIONS, row_group_size=1000)
    files = KeyedFiles(storage, {"a": "a.parquet"}, "user_id", answer_bytes=200_000)
    before = pa.total_allocated_bytes()
    for user in users[::10]:
        files.rows("a", user)
    assert pa.total_allocated_bytes() - before < 200_000 < table.nbytes / 10


def test_what_was_used_last_is_kept_and_the_newest_always() -> None:
    recent = _Recent[str, int](10)
    for value, key in enumerate("abc"):
        recent.put(key, value, 4)
    assert [recent.get(key) for key in "abc"] == [None, 1, 2]
    recent.get("b")
    recent.put("d", 3, 6)
    assert [recent.get(key) for key in "bcd"] == [1, None, 3]
    recent.put("d", 4, 2)
    recent.put("e", 5, 4)
    assert [recent.get(key) for key in "bde"] == [1, 4, 5]
    recent.put("f", 6, 1000)
    assert [recent.get(key) for key in "bdef"] == [None, None, None, 6]


def test_a_missing_file_or_column_is_reported(storage: Storage) -> None:
    write_table(storage, "a.parquet", lists(["u"]), RECOMMENDATIONS)
    paths = {"a": "a.parquet", "b": "none.parquet"}
    files = KeyedFiles(storage, paths, "user_id")
    with pytest.raises(InputError, match=r"none\.parquet: there is no such file; run the stage"):
        files.rows("b", "u")
    with pytest.raises(InputError, match=r"a\.parquet: has no column 'age'; it has user_id, rank"):
        KeyedFiles(storage, paths, "age").rows("a", "u")
    with pytest.raises(AssertionError, match=r"a\.parquet: keys of 'rank' are int16"):
        KeyedFiles(storage, paths, "rank").rows("a", "u")
    files.rows("a", "u")
    storage.delete("a.parquet")
    assert len(files.rows("a", "u")) == 20, "an answer that is kept needs no file"
    assert len(files.rows("a", "x")) == 0, "nor does a key outside of the bounds"
    answerless = KeyedFiles(storage, paths, "user_id", answer_bytes=0)
    with pytest.raises(InputError, match=r"a\.parquet: there is no such file"):
        answerless.rows("a", "u")


def test_a_file_that_goes_away_later_is_reported(storage: Storage) -> None:
    write_table(storage, "a.parquet", lists(["u", "v"]), RECOMMENDATIONS)
    files = KeyedFiles(storage, {"a": "a.parquet"}, "user_id")
    files.rows("a", "u")
    storage.delete("a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: there is no such file"):
        files.rows("a", "v")


def test_damage_is_reported_with_the_name(storage: Storage) -> None:
    users = [f"u{number:03d}" for number in range(100)]
    write_table(storage, "a.parquet", lists(users), RECOMMENDATIONS, row_group_size=500)
    whole = storage.read_bytes("a.parquet")
    flipped = bytearray(whole)
    flipped[200] ^= 0xFF
    damaged = [b"", b"PAR1", whole[:-1], whole[: len(whole) // 2], bytes(flipped), b"not parquet, but long enough"]
    for number, data in enumerate(damaged):
        storage.write_bytes(f"bad-{number}.parquet", data)
        files = KeyedFiles(storage, {"bad": f"bad-{number}.parquet"}, "user_id")
        with pytest.raises(InputError, match=rf"bad-{number}\.parquet: is truncated or damaged .*run the stage"):
            files.rows("bad", "u003")


def test_a_file_cut_short_under_a_reader_is_reported(storage: Storage) -> None:
    write_table(storage, "a.parquet", lists(["u", "v"], 500), RECOMMENDATIONS, row_group_size=500)
    files = KeyedFiles(storage, {"a": "a.parquet"}, "user_id")
    assert len(files.rows("a", "u")) == 500
    storage.write_bytes("a.parquet", storage.read_bytes("a.parquet")[:100])
    with pytest.raises(InputError, match=r"a\.parquet: is truncated or damaged"):
        files.rows("a", "v")


def test_trouble_of_the_network_is_not_taken_for_damage(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(s3_root)
    write_table(storage, "a.parquet", lists(["u", "v"]), RECOMMENDATIONS)
    files = KeyedFiles(storage, {"a": "a.parquet"}, "user_id")
    files.rows("a", "u")

    def cut(*_: object) -> int:
        raise ConnectionError("cut off")

    monkeypatch.setattr(ObjectFile, "readinto", cut)
    with pytest.raises(ConnectionError, match="cut off"):
        files.rows("a", "v")
