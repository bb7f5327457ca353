import operator
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.checks.row_filter import RowFilter, _connection, row_filter, sql_name
from recsys.errors import ConfigError, InputError
from recsys.settings import decode_config

KEY = "inputs.events.where"
TABLE = pa.table(
    {
        "Quantity": ["1", "-2", "many", None],
        "size": [1, 2, 3, None],
        "price": [1.5, float("nan"), 2.0, 3.0],
        "user id:token": ["a", "B", "C1", "c"],
        "day": pa.array([0, 14_000, 15_000, None], pa.date32()),
        "active": ["yes", "0", "perhaps", None],
        "kind": pa.array(["x", "y", "x", None]).dictionary_encode(),
        "code": pa.array([b"C1", b"\xff", b"D", None]),
        "ok": [True, False, None, True],
    }
)


def passing(text: str, table: pa.Table = TABLE) -> list[int]:
    mask = row_filter(text, KEY).mask(table, "f.csv")
    assert mask.type == pa.bool_()
    assert (len(mask), mask.null_count) == (len(table), 0)
    return [row for row, passes in enumerate(mask.to_pylist()) if passes]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("Quantity > 0", [0]),
        ("not Quantity > 0", [1]),  # text that is no number is null, and so is the opposite
        ("Quantity is null", [3]),
        ("size is not null", [0, 1, 2]),
        ("price is null", [1]),  # pandas writes NaN for null
        ("price > 0", [0, 2, 3]),
        ("1 <= size and size < 3", [0, 1]),
        ("Quantity between -5 and 1", [0, 1]),
        ("Quantity in (1, -2)", [0, 1]),
        ("Quantity not in (1)", [1]),
        ("size in ('1', '2')", [0, 1]),
        ("size == '1'", [0]),
        ("-Quantity + 1 = size + 1", [1]),
        ("number(Quantity) <= size", [0, 1]),
        ("size / 0 > 0 or size / 0 <= 0", []),
        ("\"user id:token\" = 'B'", [1]),
        ("`user id:token` = 'B'", [1]),
        ("starts_with(lower(\"user id:token\"), 'c')", [2, 3]),
        ("startswith(\"user id:token\", 'C') OR Size = 1", [0, 2]),
        ("contains(size, '2')", [1]),  # a number inside of a text function is its text
        ("size like '1%' or \"user id:token\" ilike 'b'", [0, 1]),
        ("Quantity = 'many' and size > 100", []),
        ("Quantity = 'many' or size > 100", [2]),
        ("day >= '2008-05-01' and day < date '2011-01-01'", [1]),
        ("active", [0]),
        ("not active", [1]),
        ("active = true and ok", [0]),
        ("kind = 'x'", [0, 2]),
        ("code = 'C1' or code is null", [0, 1, 3]),  # bytes that are no UTF-8 are null
        ("number(coalesce(Quantity, '5')) = 5", [3]),
        ("case when size = 1 then true when size = 2 then ok end", [0]),
        ("  Quantity > 0\n  and size > 0 -- a comment", [0]),
        ("true", [0, 1, 2, 3]),
        ("1 > 2", []),
        ("size < 99999999999999999999999", [0, 1, 2]),
        ("cast(size as decimal(4, 1)) = 2 or try_cast(Quantity as integer) = 1", [0, 1]),
        ("try_strptime(Quantity, '%d') is null", [1, 2, 3]),
    ],
)
def test_rows_that_pass(text: str, rows: list[int]) -> None:
    assert passing(text) == rows
    parts = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)])
    assert passing(text, parts) == rows, "chunks of a column make no difference"
    assert passing(text, TABLE.slice(0, 0)) == []


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("Quantity >", 10, "syntax error"),
        ("1 < size < 3", None, "Chained comparisons are not supported, use AND"),
        ("size is not None", 13, 'near "None"'),
        ("size > 1 and __import__('os')", 14, "function '__import__' is not allowed; the functions are abs, "),
        ('col("odd name") > 1', 1, "function 'col' is not allowed"),
        ("é = 1 and f(size) > 1", 11, "function 'f'"),
        ("main.lower(kind) = 'x'", 1, "function 'lower' is not allowed"),
        ("size.real > 1", 1, 'write "size.real" in double quotes'),
        ("kind[1] = 'x'", 5, "array_extract"),
        ("size in [1]", 9, "round brackets"),
        ("1 + 2", None, "not a condition"),
        ("size = 1 and 1", 14, "not a condition"),
        ("'x'", 1, "not a condition"),
        ("size = null", 1, "write `x is null`"),
        ("(size, 1)", None, "'row' is not allowed"),
        ("size = ?", None, "must be one condition and nothing else"),
        ("count(*) over () > 1", 1, "window"),
        ("*", 1, "star is not allowed"),
        ("+".join(["1"] * 200) + " > size", None, "nested deeper than 100 levels"),
        ("+".join(["1"] * 700) + " > size", None, "cannot be read as SQL"),
        ("(" * 4000 + "size" + ")" * 4000, None, "depth"),
        ("size = 1" + " " * 10_000, None, "longer than"),
        (" ", None, "write null to use all rows"),
    ],
)
def test_other_texts_are_refused_with_their_place(text: str, position: int | None, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        row_filter(text, KEY)

    assert str(error.value).startswith(KEY)
    assert problem in str(error.value)
    if position is not None:
        assert f"{text!r}, at character {position}: " in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "(select count(*) from read_csv('{secret}')) > 0",
        "(select count(*) from '{secret}') > 0",
        "exists (from read_text('{secret}'))",
        "size in (select 1)",
        "(select count(*) from TABLE) > 0",  # a variable of Python
        "(select count(*) from rows) > 0",
        "read_text('{secret}') is not null",
        "glob('{secret}') is not null",
        "getenv('HOME') is not null",
        "current_setting('threads') = '1'",
        "getvariable('x') = 1",
        "nextval('x') > 0",
        "query('select 1') > 0",
        "cast(size as decimal((select 4), 2)) > 0",
        "abs(size) filter (where exists (select 1)) > 0",
        "size > 0; drop table rows",
        "size > 0) from rows; copy (select 1) to '{secret}.copy'; select (true",
        "true) union all select (true",
        "true) from rows where (true",
        "size > 0 as x",
        "copy (select 1) to '{secret}.copy'",
        "attach '{secret}' as other",
        "install httpfs",
        "load httpfs",
        "pragma database_list",
        "set enable_external_access = true",
        "sum(size) > 0",
        "list_transform([1], x -> x)[1] > 0",
        "columns('size') > 0",
        "random() > 0.5",
        "repeat('x', 1000000000) = 'x'",
    ],
)
def test_a_condition_reaches_nothing_but_its_row(text: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")

    with pytest.raises(ConfigError):
        row_filter(text.replace("{secret}", str(secret)), KEY)
    assert os.listdir(tmp_path) == ["secret.csv"]


@pytest.mark.parametrize(
    "statement",
    [
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SELECT * FROM read_csv('{secret}')",
        "COPY (SELECT 1) TO '{secret}.copy'",
        "ATTACH '{secret}.db'",
        "INSTALL httpfs",
        "SELECT getenv('HOME')",
        "FROM TABLE_OF_PYTHON",
    ],
)
def test_the_engine_is_locked_even_for_sql_that_would_pass_the_check(statement: str, tmp_path: Path) -> None:
    TABLE_OF_PYTHON = TABLE  # noqa: F841, N806 - DuckDB would find a variable of this name
    (tmp_path / "secret.csv").write_text("a\n1\n")
    connection = _connection()

    with pytest.raises(duckdb.Error):
        connection.execute(statement.replace("{secret}", str(tmp_path / "secret.csv"))).fetchall()
    assert os.listdir(tmp_path) == ["secret.csv"]


@pytest.mark.parametrize("name", ["at", "order", "Group", "left", "Unit Price", "p.sku", 'a"b', "user", "quantity"])
def test_the_name_of_any_column_can_be_written(name: str) -> None:
    """Refusals propose conditions for people to copy, and `init` writes one."""
    assert RowFilter(f"{sql_name(name)} is not null").columns == (name,)


def test_a_column_whose_name_is_a_word_of_sql_is_explained() -> None:
    with pytest.raises(ConfigError, match=r'; write "at" in double quotes where it is a column$'):
        RowFilter("at >= '2026-10-10' and event = 'order by'")


def test_unknown_columns_name_similar_ones() -> None:
    with pytest.raises(InputError, match=rf"^{KEY}: column 'sise' is not in f\.csv; did you mean 'size'\? Its columns"):
        passing("sise > 1")
    with pytest.raises(InputError, match=r"column 'zz' is not in f\.csv; its columns are Quantity, size, price"):
        passing("zz > 1")


def test_a_column_of_the_same_spelling_comes_before_one_in_another_case() -> None:
    table = pa.table({"A": [1], "a": [2], "B": [3]})

    assert passing("a = 2 and b = 3", table) == [0]
    with pytest.raises(InputError, match="differ by case only"):
        passing('a = 2 and "A" = 1', table)


@pytest.mark.parametrize(
    "text", ["size = 'big'", "size > day", "size in (1, 'x')", "cast(Quantity as integer) > 0", "day > 'soon'"]
)
def test_types_that_do_not_fit_name_the_key_and_the_types(text: str) -> None:
    with pytest.raises(InputError, match=rf"^{KEY} .* does not fit f\.csv: .* is (int64|string|date32)"):
        passing(text)


def test_text_is_no_condition() -> None:
    with pytest.raises(ConfigError, match="not a condition"):
        passing("lower(kind)")


def test_columns_are_those_read() -> None:
    parsed = row_filter('"odd name" > 0 and (lower(b) = \'x\' or c is null) and "d.e" in (1, 2)', KEY)

    assert parsed.columns == ("odd name", "b", "c", "d.e")


def test_a_filter_travels_as_its_text() -> None:
    parsed = row_filter("size > 1", KEY)
    parsed.mask(TABLE)

    assert pickle.loads(pickle.dumps(parsed)) is row_filter("size > 1", KEY)  # noqa: S301 - our own bytes


def test_threads_may_share_a_filter() -> None:
    found: list[int] = []
    tables = [pa.table({"n": list(range(1000))}).slice(start) for start in range(20)]
    shared = row_filter("n >= 500", KEY)
    threads = [
        threading.Thread(target=lambda table=table: found.append(sum(shared.mask(table).to_pylist())))
        for table in tables
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [500] * 20


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_may_use_a_filter() -> None:
    shared = row_filter("n >= 5", KEY)
    table = pa.table({"n": list(range(10))})
    assert passing("n >= 5", table) == [5, 6, 7, 8, 9]
    child = os.fork()
    if child == 0:
        os._exit(sum(shared.mask(table).to_pylist()))

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5


def test_a_config_is_refused_before_anything_starts() -> None:
    inputs: dict[str, Any] = {
        "events": {"path": "e", "where": "Quantity >"},
        "items": {"path": "i", "text": "{a}"},
    }
    with pytest.raises(ConfigError, match=r"^inputs\.events\.where: 'Quantity >', at character 10: syntax error"):
        decode_config({"inputs": inputs})
    inputs["events"]["where"] = None
    with pytest.raises(ConfigError, match=r"^rerank\.where: .*sub-select is not allowed"):
        decode_config({"inputs": inputs, "rerank": {"where": "a in (select 1)"}})


_NUMBERS = st.one_of(st.none(), st.integers(-3, 3))
_OPERATORS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}


@settings(max_examples=30)
@given(st.lists(st.tuples(_NUMBERS, _NUMBERS), min_size=1), st.sampled_from(sorted(_OPERATORS)), st.integers(-3, 3))
def test_text_columns_compare_as_the_numbers_they_spell(rows: list[tuple[Any, Any]], sign: str, bound: int) -> None:
    table = pa.table(
        {
            "text": pa.array([None if a is None else str(a) for a, _ in rows], pa.string()),
            "number": pa.array([b for _, b in rows], pa.int64()),
        }
    )
    compare = _OPERATORS[sign]

    def known(*values: Any) -> bool:
        return None not in values

    assert row_filter(f"text {sign} {bound}").mask(table).to_pylist() == [
        known(a) and compare(a, bound) for a, _ in rows
    ]
    assert row_filter(f"not text {sign} number").mask(table).to_pylist() == [
        known(a, b) and not compare(a, b) for a, b in rows
    ]


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        parsed = row_filter(text)
    except ConfigError:
        return
    assert parsed.text == text
