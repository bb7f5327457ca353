"""Files as people have them, through the stages that read them: what is read and what is not adds up to the lines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from recsys.errors import InputError
from recsys.pipeline.input_records import IngestedEvents
from recsys.pipeline.inputs.ingest_catalog import ingest_catalog
from recsys.pipeline.inputs.ingest_events import ingest_events
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run import Run
from recsys.settings import decode_config

pytestmark = pytest.mark.usefixtures("reads_one_by_one")

ITEMS = [f"i{number}" for number in range(40)]
HEADER = "user_id,item_id,timestamp,words"
ROWS = [f"u{number},i{number % 40},2026-10-{number % 9 + 1:02},good" for number in range(360)]


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """A run over `events` in the test's folder, which the test writes."""
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\n" + "".join(f"{item},Lamp {item}\n" for item in ITEMS))

    def make(path: str = "events", items: Path = items, **events: Any) -> Run:
        inputs = {
            "events": {"path": str(tmp_path / path), "format": "csv"} | events,
            "items": {"path": str(items), "format": "csv", "text": "{title}"},
            "max_quarantine_rate": 1.0,
        }
        return open_run(decode_config({"storage": str(tmp_path / "w"), "date": "2026-10-31", "inputs": inputs}))

    return make


def ingest(run: Run) -> tuple[IngestedEvents, list[dict[str, Any]]]:
    """The record of the events, and the accepted events."""
    ingest_catalog(run)
    record = ingest_events(run)
    assert record.rows == record.accepted + record.quarantined + record.filtered + record.later
    return record, ds.dataset(
        [run.storage.path(path) for path in record.parts], format="parquet"
    ).to_table().to_pylist()


def test_an_open_quote_costs_one_line(make_run: Callable[..., Run], tmp_path: Path) -> None:
    rows = [*ROWS]
    rows[50] = 'u50,i10,2026-10-05,"good'
    rows[200] = 'u200,i0,2026-10-05,"fine, and ""cheap"""'
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "1.csv").write_text("\n".join([HEADER, *rows, ""]))
    items = tmp_path / "quoted.csv"
    lines = [f'{item},Lamp "{item}"' for item in ITEMS]
    lines[7] = 'i7,"Lamp i7'
    items.write_text("\n".join(["item_id,title", *lines, ""]))

    run = make_run(items=items)
    catalog = ingest_catalog(run)
    record, _ = ingest(run)

    assert (catalog.rows, catalog.items, catalog.reasons) == (40, 39, {"unclosed_quote": 1})
    lost = sum(",i7," in row for row in rows)
    assert record.rows == 360
    assert record.reasons == {"unclosed_quote": 1, "unknown_item": lost}


def test_a_tsv_that_never_quotes(make_run: Callable[..., Run], tmp_path: Path) -> None:
    rows = [row.replace("good", ('"good', 'good"', '5" good')[number % 3]) for number, row in enumerate(ROWS)]
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "1.tsv").write_text("\n".join([HEADER, *rows, ""]).replace(",", "\t"))
    columns = {"text": "words"}

    record, _ = ingest(make_run(delimiter="\t", columns=columns))
    assert record.rows == 360
    assert record.quarantined > 0
    record, _ = ingest(make_run(delimiter="\t", columns=columns, quoting="none"))
    assert record.accepted == 360


def test_days_as_folders_links_and_columns_that_older_files_lack(make_run: Callable[..., Run], tmp_path: Path) -> None:
    for day in ("01", "02", "03"):
        folder = tmp_path / ("cache" if day == "02" else "events") / f"date=2026-10-{day}"
        folder.mkdir(parents=True)
        weight = ",w\n" if day == "03" else "\n"
        lines = [f"u{number},i{number}" + (",2.5" if day == "03" else "") for number in range(10)]
        (folder / "part-0000").write_text("user_id,item_id" + weight + "\n".join(lines) + "\n")
    (tmp_path / "events" / "date=2026-10-02").symlink_to(tmp_path / "cache" / "date=2026-10-02")

    record, rows = ingest(make_run(columns={"timestamp": "date", "weight": "w"}))

    assert sorted({(row["timestamp"].day, row["weight"]) for row in rows}) == [(1, 1.0), (2, 1.0), (3, 2.5)]
    assert (record.accepted, record.lacking) == (30, {"w": 20})
    with pytest.raises(InputError, match=r"inputs\.events\.columns\.weight: column 'W2' is not in .*part-0000.*'w'"):
        ingest(make_run(columns={"timestamp": "date", "weight": "W2"}))


def test_a_json_file_without_any_item(make_run: Callable[..., Run], tmp_path: Path) -> None:
    """An hour in which people only looked at pages; a key that is not there is null."""
    (tmp_path / "events").mkdir()
    for hour in range(3):
        rows = [{"user_id": f"u{number}", "timestamp": f"2026-10-{hour + 1:02}"} for number in range(9)]
        bought = [row | {"item": {"id": item}} for row, item in zip(rows, ITEMS[:9], strict=True)]
        lines = rows if hour == 1 else bought
        (tmp_path / "events" / f"{hour}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    columns = {"item_id": "item.id"}

    record, _ = ingest(make_run(format="jsonl", columns=columns))
    assert (record.accepted, record.reasons, record.lacking) == (18, {"missing_item": 9}, {"item.id": 9})
    record, _ = ingest(make_run(format="jsonl", columns=columns, where='"item.id" is not null'))
    assert (record.accepted, record.filtered) == (18, 9)
    for wrong in ({"columns": {"item_id": "items.id"}}, {"columns": columns, "where": "shop = 'x'"}):
        with pytest.raises(InputError, match=r"column '(items\.id|shop)' is not in .*columns are .*item\.id"):
            ingest(make_run(format="jsonl", **wrong))


def test_the_items_of_a_basket_in_a_list_are_refused(make_run: Callable[..., Run], tmp_path: Path) -> None:
    """As text, each basket would be an item, where the items come from the same file."""
    rows = [{"user_id": "u1", "item_id": ITEMS[number : number + 2], "timestamp": "2026-10-01"} for number in range(9)]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "events.parquet")
    for form in ("jsonl", "parquet"):
        with pytest.raises(InputError, match=r"column 'item_id' .*list.* write one row for each value of"):
            ingest(make_run(f"events.{form}", format=form, items=tmp_path / "items.csv"))
    (tmp_path / "odd.jsonl").write_text('{"user_id": "[7]", "item_id": "i1", "timestamp": "2026-10-01"}\n')
    record, _ = ingest(make_run("odd.jsonl", format="jsonl"))
    assert record.accepted == 1


def test_nested_columns(make_run: Callable[..., Run], tmp_path: Path) -> None:
    rows = [{"user": {"id": f"u{number}"}, "item_id": ITEMS[number], "timestamp": "2026-10-01"} for number in range(9)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "events.parquet")
    mongo = [row | {"timestamp": {"$date": "2026-10-01T00:00:00Z"}} for row in rows]
    (tmp_path / "events.json").write_text(json.dumps(mongo, indent=2))

    for path, form in (("events.parquet", "parquet"), ("events.json", "jsonl")):
        record, _ = ingest(make_run(path, format=form, columns={"user_id": "user.id"}))
        assert record.accepted == 9
    with pytest.raises(
        InputError, match=r"inputs\.events\.columns\.user_id: column 'user' of .*events\.parquet is a struct.*user\.id"
    ):
        ingest(make_run("events.parquet", format="parquet", columns={"user_id": "user"}))
