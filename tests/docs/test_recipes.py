"""The analysts' recipes: every block runs over the same published nights, and all tools give the same answers."""

import datetime as dt
import importlib.util
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.schema import ITEM_REPORT, METRICS
from recsys.settings import decode_config
from recsys.storage.night_tables import write_night_table
from tests.conftest import tiny_config
from tests.docs.pages import ROOT, Block, blocks
from tests.published_shop import PublishedShop, Rows, day_of

PAGE = ROOT / "docs" / "recipes.md"
USERS = ["u00001", "u00007", "u00012", "u00020"]
ATTRIBUTES = {
    "i1": {"title": "Oak [Desk] Lamp", "category": "Lamps"},
    "i2": {"title": "Vase", "category": "Decor"},
    "i3": {"title": "Unseen", "category": "Decor"},
    "i4": {"title": "Chair"},
}
#: The lists of two nights. The last one was published before, with other lists. A third night and a third run of the
#: last one were never published.
FIRST: Rows = [(user, ["i1", "i2"]) for user in USERS]
BEFORE: Rows = [("u00007", ["i1", "i2"]), ("u00012", ["i1", "i4"])]
SECOND: Rows = [("u00001", ["i1", "i2"]), ("u00007", ["i2", "i4"]), ("u00012", ["i4", "i3"][:1]), ("u00030", ["i1"])]
DATES = [day_of(day).isoformat() for day in range(2)]

#: The answer of each recipe, in the order of the page.
ANSWERS: list[list[tuple[Any, ...]]] = [
    [(user, rank, item) for user, items in SECOND for rank, item in enumerate(items, 1)],
    [("i1", "Oak [Desk] Lamp", 2), ("i2", "Vase", 2), ("i4", "Chair", 2)],
    [("", 1, 1.0), ("Decor", 2, 0.5), ("Lamps", 1, 1.0)],
    [(DATES[0], 1, "i1"), (DATES[0], 2, "i2"), (DATES[1], 1, "i2"), (DATES[1], 2, "i4")],
    [(3, 1.0)],
    [(1, 2, 17.0), (2, 1, 2.0)],
]
#: The answers of the blocks below `Metrics and items`.
OF_TABLES: list[list[tuple[Any, ...]]] = [
    [
        (day_of(-1).isoformat(), "coverage", 0.125, None, None),
        (DATES[1], "coverage", 0.75, None, None),
        (DATES[1], "ndcg@10", 0.25, 0.2, 0.3),
    ],
    [("i4", 2, 0)],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the storage `warehouse` and the sales."""
    folder = tmp_path_factory.mktemp("analyst")
    shop = PublishedShop(folder / "warehouse", decode_config(tiny_config(Path("shop"), folder / "warehouse")))
    run, repeated = shop.run(1, "0123456789ab-2"), shop.run(1)
    metrics = [
        {"run_date": run.date, "metric": "ndcg@10", "segment": "all", "value": 0.25, "low": 0.2, "high": 0.3},
        {"run_date": run.date, "metric": "coverage", "segment": "all", "value": 0.75, "low": None, "high": None},
        {"run_date": run.date, "metric": "rows", "segment": "items", "value": 4.0, "low": None, "high": None},
    ]
    deleted = shop.run(-1)  # retention keeps its metrics
    for other, value in ((repeated, 0.5), (deleted, 0.125)):
        rows = [metrics[1] | {"run_date": other.date, "value": value}]
        write_night_table(other, "metrics", pa.Table.from_pylist(rows, schema=METRICS), METRICS)
    items = [
        {"item_id": item, "num_lists": lists, "num_top_10": lists, "num_taken": 0, "is_new": new, "is_tail": new}
        for item, lists, new in (("i1", 2, False), ("i2", 2, False), ("i3", 0, True), ("i4", 2, True))
    ]
    shop.publish(shop.run(0), FIRST)
    shop.publish(repeated, BEFORE)
    shop.publish(
        run,
        SECOND,
        tables={
            name: write_night_table(run, name, pa.Table.from_pylist(rows, schema=schema), schema)
            for name, rows, schema in (("metrics", metrics, METRICS), ("item_report", items, ITEM_REPORT))
        },
    )
    shop.know(run, ATTRIBUTES)
    published = folder / "warehouse" / "recommendations" / f"run_date={DATES[1]}" / f"run_id={run.run_id}"
    for date in (DATES[1], "2026-11-03"):
        left = folder / "warehouse" / "recommendations" / f"run_date={date}" / f"run_id={date}-stopped"
        shutil.copytree(published, left, ignore=shutil.ignore_patterns("_*"))
    sales = [
        ("u00001", "i1", 1, 5.0),
        ("u00012", "i1", 1, 12.0),
        ("u00007", "i2", 1, 2.0),
        ("u00007", "i4", 0, 90.0),  # before any list
        ("u00020", "i9", 1, 90.0),  # not in the list
    ]
    table = {"user_id": [], "item_id": [], "day": [], "amount": []}
    for values in sales:
        for name, value in zip(table, (*values[:2], day_of(values[2]), values[3]), strict=True):
            table[name].append(value)
    pq.write_table(pa.table(table), folder / "sales.parquet")
    return folder


def section(title: str) -> list[Block]:
    """The code blocks below a heading of the page."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = lines.index(f"## {title}") + 1
    end = next((number for number in range(start, len(lines)) if lines[number].startswith("## ")), len(lines))
    found = [block for language in ("sql", "python") for block in blocks(language) if block.page == "docs/recipes.md"]
    return [block for block in found if start < block.line <= end]


def plain(value: Any) -> Any:
    """Dates as text, numbers as Python has them."""
    if isinstance(value, dt.datetime | pd.Timestamp):
        return value.date().isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    value = value.item() if hasattr(value, "item") else value
    return round(value, 6) if isinstance(value, float) else value


def rows_of(answer: Any) -> list[tuple[Any, ...]]:
    """The rows of what a block answers."""
    match answer:
        case pl.DataFrame():
            rows = answer.rows()
        case pd.DataFrame():
            rows = list(answer.itertuples(index=False, name=None))
        case list():
            rows = answer
        case _:  # of Spark
            rows = [tuple(row) for row in answer.collect()]
    return [tuple(plain(value) for value in row) for row in rows]


@pytest.fixture
def in_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def sql_answers(names: list[str]) -> Iterator[list[tuple[Any, ...]]]:
    with duckdb.connect() as connection:
        for name in names:
            for block in section(name):
                rows: list[Any] = []
                for statement in duckdb.extract_statements(block.text):
                    rows = connection.execute(statement).fetchall()
                yield rows_of(rows)


def test_the_recipes_of_duckdb(in_folder: None) -> None:
    answers = list(sql_answers(["DuckDB", "Metrics and items"]))
    assert answers == [*ANSWERS, *OF_TABLES]


@pytest.mark.parametrize("tool", ["Polars", "pandas"])
def test_the_recipes_of_python(tool: str, in_folder: None) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    answers = []
    for block in section(tool):
        exec(compile(block.text, str(block), "exec"), names)  # noqa: S102 (our own page)
        answers.append(rows_of(names["answer"]))
    assert answers == ANSWERS


@pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None,
    reason="Spark is no dependency: pip install pyspark, and Java",
)
def test_the_recipes_of_spark(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master local[1] --conf spark.ui.enabled=false pyspark-shell")
    names: dict[str, Any] = {"__name__": "page"}
    answers = []
    try:
        for block in section("Spark"):
            exec(compile(block.text, str(block), "exec"), names)  # noqa: S102 (our own page)
            answers.append(rows_of(names["answer"]))
    finally:
        names["spark"].stop()
    assert answers == ANSWERS


def test_spark_recipes_compile_where_there_is_no_spark() -> None:
    assert len(section("Spark")) == len(ANSWERS)
    for block in section("Spark"):
        compile(block.text, str(block), "exec")


def test_every_block_of_the_page_is_in_a_section_that_is_tested() -> None:
    headings = re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == ["DuckDB", "Polars", "pandas", "Spark", "Metrics and items"]
