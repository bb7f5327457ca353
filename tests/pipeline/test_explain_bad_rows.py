"""A refusal shows the commonest bad values, one line of the file, and what to change. Inputs as people have them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.checks.bad_values import BadValue
from recsys.data.checks.quarantine import Reason
from recsys.data.checks.ways_out import BadInput, way_out
from recsys.data.config import EventsInput
from recsys.errors import InputError
from recsys.pipeline.inputs import ingest_events
from recsys.pipeline.inputs.ingest_catalog import ingest_catalog
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run import Run
from recsys.settings import decode_config

pytestmark = pytest.mark.usefixtures("reads_one_by_one")

ITEMS = {"path": "items.csv", "format": "csv", "text": "{title}"}
EVENTS = {"path": "events.csv", "format": "csv"}


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., InputError]:
    """The refusal of some files; `{events}` has ten good rows, and items `i0` to `i9` are there."""
    monkeypatch.chdir(tmp_path)

    def run(files: dict[str, str | bytes], **inputs: Any) -> InputError:
        catalog = "item_id,title\n" + "".join(f"i{number},Lamp {number}\n" for number in range(10))
        for name, content in ({"items.csv": catalog} | files).items():
            data = content.encode() if isinstance(content, str) else content
            (tmp_path / name).write_bytes(data)
        raw = {"storage": "warehouse", "date": "2021-01-31", "inputs": {"events": EVENTS, "items": ITEMS} | inputs}
        opened = open_run(decode_config(raw))
        with pytest.raises(InputError) as caught:
            ingest(opened)
        json.dumps(caught.value.details, allow_nan=False)
        return caught.value

    return run


def ingest(run: Run) -> None:
    ingest_catalog(run)
    ingest_events.ingest_events(run)


def events(*bad: str, header: str = "user_id,item_id,timestamp", good: str = "u{0},i{0},2021-01-02") -> str:
    return "\n".join([header, *(good.format(number) for number in range(10)), *bad, ""])


def refused_rows(error: InputError, key: str = "inputs.events") -> list[dict[str, Any]]:
    examples: list[dict[str, Any]] = error.details[key]["examples"]
    return [{name: each[name] for name in ("reason", "column", "value", "rows")} for each in examples]


def test_the_commonest_values_are_shown_with_a_line_and_the_details(refuse, tmp_path) -> None:
    bad = [f"u{number},i1,{day}.12.2020 8h15" for number, day in enumerate([31, 30, 31, 29, 31, 28, 27, 26])]
    error = refuse({"events.csv": events(*bad)})
    text = str(error)
    assert "inputs.events: 8 of 18 rows (44.4%) cannot be used, more than inputs.max_quarantine_rate=5.0%:" in text
    assert "unreadable_timestamp 8 in 'timestamp': '31.12.2020 8h15' (3), '26.12.2020 8h15' (1)" in text
    assert f"For example {tmp_path}/events.csv line 12: u0,i1,31.12.2020 8h15" in text
    assert "Set inputs.events.timestamp_format to '%d.%m.%Y %Hh%M'." in text
    first = {"reason": "unreadable_timestamp", "column": "timestamp", "value": "31.12.2020 8h15", "rows": 3}
    assert refused_rows(error)[0] == first
    assert len(refused_rows(error)) == 5


@pytest.mark.parametrize(
    ("lines", "inputs", "shown"),
    [
        pytest.param(
            events(*(f"u{n},i1," for n in range(3))),
            {},
            ["unreadable_timestamp 3 in 'timestamp': no value (3)", "leave them out by inputs.events.where"],
            id="no time",
        ),
        pytest.param(
            events(*["u1,i1,2021-13-45T25:61:00Z"] * 3),
            {},
            [
                "'2021-13-45T25:61:00Z' (3)",
                "If all rows are written like these, set inputs.events.timestamp_format to their spelling, such as",
                "if only these are, mend them, or leave them out by inputs.events.where.",
            ],
            id="no day of any calendar",
        ),
        pytest.param(
            events(*["u1,i1,1.79E+12"] * 3),
            {},
            ["'1.79E+12' (3)", "A program has rounded these numbers: export 'timestamp' with all digits."],
            id="rounded time",
        ),
        pytest.param(
            events(*["u1,i1,0000-00-00 00:00:00"] * 3),
            {},
            ["'0000-00-00 00:00:00' (3)", "inputs.events.where: timestamp <> '0000-00-00 00:00:00'"],
            id="zero dates of MySQL",
        ),
        pytest.param(
            events(*["u1,i1,2021-01-05"] * 3, good="u{0},i{0},05.01.2021 10:00"),
            {"events": EVENTS | {"timestamp_format": "%d.%m.%Y %H:%M"}},
            ["'2021-01-05' (3)", "line 12: u1,i1,2021-01-05", "to '%Y-%m-%d' (it is '%d.%m.%Y %H:%M' now)"],
            id="another format than the config says",
        ),
        pytest.param(
            events(*(f"u{n},,2021-01-02" for n in range(3))),
            {},
            ["missing_item 3 in 'item_id': no value (3)", "line 12: u0,,2021-01-02", "where: item_id is not null"],
            id="no item",
        ),
        pytest.param(
            events(*["NULL,i1,2021-01-02"] * 3),
            {},
            ["missing_user 3 in 'user_id': 'NULL' (3)", "inputs.events.where: user_id <> 'NULL'", "missing_values"],
            id="a word for nothing",
        ),
        pytest.param(
            events(*['u1,"[{""item_id"": ""' + "i" * 600 + '""}]",2021-01-02'] * 3),
            {},
            ["id_too_long 3 in 'item_id'", "'item_id' holds a list or an object: write one row for each entry"],
            id="the items of an order in a list",
        ),
        pytest.param(
            events(*["u1,1.23457E+11,2021-01-02"] * 3),
            {},
            ["lost_digits 3 in 'item_id': '1.23457E+11' (3)", "export 'item_id' as text"],
            id="ids that a spreadsheet rounded",
        ),
        pytest.param(
            events('u1,"i1,2021-01-02', "u2,i2,2021-01-02"),
            {},
            ["unclosed_quote 1. For example", 'line 12: u1,"i1,2021-01-02', "inputs.events.quoting to none"],
            id="a quote that is not closed",
        ),
        pytest.param(
            events(*["u1,i1,2021-01-02,x"] * 3),
            {},
            [
                "malformed_row 3. For example",
                "line 12: u1,i1,2021-01-02,x",
                "put texts that hold ',' into double quotes",
            ],
            id="more fields than the header",
        ),
        pytest.param(
            events(*[r'"a \"big\", u1",i1,2021-01-02'] * 3),
            {},
            ["malformed_row 3. For example", r'write it as two quotes, in Spark by option("escape", "\"")'],
            id="quotes within quotes as Spark writes them",
        ),
        pytest.param(
            events("u1,i1,2021-01-02").encode() + "ué,i1,2021-01-02\n".encode("cp1252"),
            {},
            ["invalid_encoding 1 in 'user_id': 'u\ufffd' (1)", "inputs.events.encoding, such as cp1252"],
            id="another encoding",
        ),
        pytest.param(
            events(*(f"u{n},00000{n},2021-01-02" for n in range(3))),
            {},
            [
                "unknown_item 3 in 'item_id': '000000' (1)",
                "the items have ids such as 'i0', 'i1', 'i2'",
                "before the number they are equal. If they are the same items, write the ids of both inputs the same",
                "if these items are gone, raise inputs.max_quarantine_rate.",
            ],
            id="ids of another spelling",
        ),
        pytest.param(
            events(*["u1,gone,2021-01-02"] * 3),
            {},
            [
                "unknown_item 3 in 'item_id': 'gone' (3)",
                "name columns with the same ids in inputs.events.columns.item_id",
            ],
            id="ids of another table",
        ),
        pytest.param(
            events(
                *['u1,i1,2021-01-02,"1,50"'] * 3,
                header="user_id,item_id,timestamp,price",
                good="u{0},i{0},2021-01-02,2",
            ),
            {"events": EVENTS | {"columns": {"weight": "price"}}},
            ["unreadable_weight 3 in 'price': '1,50' (3)", 'line 12: u1,i1,2021-01-02,"1,50"', "decimal to ','"],
            id="decimal comma",
        ),
        pytest.param(
            events(
                *["u1,i1,2021-01-02,3 EUR"] * 3, header="user_id,item_id,timestamp,price", good="u{0},i{0},2021-01-02,2"
            ),
            {"events": EVENTS | {"columns": {"weight": "price"}}},
            ["'3 EUR' (3)", "Write numbers without a unit into 'price'"],
            id="numbers with a unit",
        ),
        pytest.param(
            events(*["u1,i1,2031-01-02"] * 3),
            {},
            ["future_timestamp 3 in 'timestamp': '2031-01-02' (3)", "a clock was wrong"],
            id="the future",
        ),
        pytest.param(
            events("NULL,i1,2021-01-02", r"\N,i1,2021-01-02", "NULL,i2,2021-01-02"),
            {},
            [
                "missing_user 3 in 'user_id': 'NULL' (2), '\\\\N' (1)",
                r"where: user_id not in ('NULL', '\N')",
                "take the word out of that list",
            ],
            id="words for nothing",
        ),
        pytest.param(
            events(*["1.23457E+11,i1,2021-01-02"] * 3),
            {},
            ["lost_digits 3 in 'user_id': '1.23457E+11' (3)", "xport 'user_id' as text"],
            id="ids that a spreadsheet rounded",
        ),
        pytest.param(
            events(*["u1,i1,44198.35"] * 3),
            {},
            ["early_timestamp 3 in 'timestamp': '44198.35' (3)", "set inputs.events.timestamp_format to excel"],
            id="days of a spreadsheet",
        ),
        pytest.param(
            events(*["u1,i1,638396640000000000"] * 3),
            {},
            ["unreadable_timestamp 3", "look like ticks of .NET: write times, or seconds since 1970"],
            id="ticks of .NET",
        ),
        pytest.param(
            events(*["u1,i1,8640"] * 3),
            {},
            ["'8640' (3)", "set inputs.earliest_date to 1970-01-01"],
            id="seconds from 0",
        ),
        pytest.param(
            events(*["u1,i1,1985-01-02"] * 3), {}, ["set inputs.earliest_date to an earlier day"], id="old times"
        ),
        pytest.param(
            events(*["u1,i1,"] * 3), {}, ["leave them out by inputs.events.where: timestamp is not null"], id="no time"
        ),
        pytest.param(
            events(*["u1,i1,08:15:30"] * 3), {}, ["times without a date: name a column with the date"], id="clock times"
        ),
        pytest.param(
            events(*["u1,i1,202012"] * 3),
            {},
            ["years and months: set inputs.events.timestamp_format to '%Y%m'"],
            id="months",
        ),
        pytest.param(
            events(*["u1,i1,2021-W01-3"] * 3), {}, ["timestamp_format to '%G-W%V-%u'"], id="weeks of ISO 8601"
        ),
    ],
)
def test_each_reason_has_its_way_out(refuse, lines, inputs, shown) -> None:
    text = str(refuse({"events.csv": lines}, **inputs))
    for part in shown:
        assert part.lower() in text.lower()


def test_booleans_that_are_none_are_named(refuse) -> None:
    lines = ["item_id,title,stock", *(f"i{number},Lamp,Low stock" for number in range(3)), "i4,Lamp,on request", ""]
    items = ITEMS | {"columns": {"available": "stock"}}
    text = str(refuse({"items.csv": "\n".join(lines), "events.csv": events()}, items=items))
    assert "inputs.items: 4 of 4 rows" in text
    assert "unreadable_available 4 in 'stock': 'Low stock' (3), 'on request' (1)" in text
    assert "items.csv line 2: i0,Lamp,Low stock" in text
    assert "rerank.where: stock = 'Low stock'" in text


def test_a_filter_that_is_true_of_no_row_is_named(refuse) -> None:
    lines = events(header="user_id,item_id,timestamp,price", good="u{0},i{0},2021-01-02,$9.99")
    text = str(refuse({"events.csv": lines}, events=EVENTS | {"where": "price > 5"}))
    assert "none of the 10 rows of events.csv can be used (`where` left out 10): inputs.events.where is true of" in text
    assert "'$9.99'" in text


def test_a_stock_in_pieces_becomes_a_filter(refuse) -> None:
    items = ITEMS | {"columns": {"available": "stock"}}
    counts = "\n".join(["item_id,title,stock", *(f"i{number},Lamp,{number}" for number in range(9)), ""])
    text = str(refuse({"items.csv": counts, "events.csv": events()}, items=items))
    assert "unreadable_available 7 in 'stock': '2' (1)" in text
    assert "rerank.where: stock > 0" in text


def test_rows_of_json_lines_and_parquet_have_their_place(refuse, tmp_path) -> None:
    good = [{"user_id": f"u{n}", "item_id": f"i{n}", "timestamp": "2021-01-02"} for n in range(5)]
    rows = [*good, {"user_id": "ü", "item_id": "i1", "timestamp": "soon"}, *good]
    lines = "\n".join([*map(json.dumps, rows), '{"user_id": ', ""])
    text = str(refuse({"events.csv": lines}, events=EVENTS | {"format": "jsonl"}))
    assert 'events.csv line 6: {"user_id": "\\u00fc", "item_id": "i1", "timestamp": "soon"}' in text
    assert 'events.csv line 12: {"user_id": ' in text
    assert "Each line must be one JSON object" in text

    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "events.parquet", row_group_size=4)
    text = str(refuse({}, events={"path": "events.parquet"}))
    assert 'events.parquet row 6: {"user_id": "ü"' in text


def test_a_line_has_its_number_though_folders_and_other_files_have_more_columns(refuse, tmp_path) -> None:
    for day, lines in (("2021-01-02", ["u1,i1"]), ("2021%2001%2003", ["u1,i1", "u2,i2"])):
        (tmp_path / f"events/date={day}").mkdir(parents=True)
        (tmp_path / f"events/date={day}/a.csv").write_text("\n".join(["user_id,item_id", *lines, ""]))
    (tmp_path / "events/new.csv").write_text("user_id,item_id,date,weight\nu1,i1,2021-01-02,1\n")
    columns = {"timestamp": "date", "weight": "weight"}
    text = str(refuse({}, events={"path": "events", "format": "csv", "columns": columns}))
    assert "a.csv line 2: u1,i1" in text


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_way_out_of_its_own(reason: Reason) -> None:
    bad = BadValue(reason=reason, column="c", value="x", rows=1, source="f", row='{"c": "x"}')
    events = EventsInput(path="f", format="csv")
    hint = way_out(BadInput(key="inputs.events", source=events, values=[bad]))
    assert "mend these rows, or leave them out" not in hint
    assert not hint.endswith((".", "?"))
