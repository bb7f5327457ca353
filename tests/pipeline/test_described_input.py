"""A night of an old date knows items and users as they were then."""

import logging
from pathlib import Path

import pytest

from recsys.errors import InputError
from recsys.pipeline.inputs.ingest_catalog import ingest_catalog
from recsys.pipeline.inputs.ingest_users import ingest_users
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run import Run
from recsys.settings import decode_config
from recsys.storage.tables import read_table

pytestmark = pytest.mark.usefixtures("reads_one_by_one")

#: What the shop knew, and when: the lamp was renamed, and the rug is new since then.
HISTORY = """sku,name,changed
lamp,Lamp,2026-11-20
lamp,Bright Lamp,2026-11-23T00:00:00
vase,Vase,2026-11-22T23:59:59
rug,Rug,2026-11-24
"""
#: A table that is overwritten: one row for each item, as it is now.
OVERWRITTEN = """sku,name,changed
lamp,Bright Lamp,2026-11-23
vase,Vase,2026-11-22
"""


def night(folder: Path, text: str, date: str, **columns: str) -> Run:
    path = folder / "table.csv"
    path.write_text(text)
    (folder / "events.csv").write_text("user_id,item_id,timestamp\nu,lamp,2026-11-20\n")
    table = {"path": str(path), "format": "csv", "text": "{name}"}
    inputs = {
        "events": {"path": str(folder / "events.csv"), "format": "csv"},
        "items": table | {"columns": {"item_id": "sku", **columns}},
        "users": table | {"columns": {"user_id": "sku", **columns}},
    }
    return open_run(decode_config({"storage": str(folder / "warehouse"), "date": date, "inputs": inputs}))


def texts_of(run: Run) -> dict[str, str]:
    ingest_catalog(run)
    rows = read_table(run.storage, run.catalog_path).to_pylist()
    return {row["item_id"]: row["text"] for row in rows}


@pytest.mark.parametrize(
    ("date", "known"),
    [
        ("2026-11-20", {"lamp": "Lamp"}),
        ("2026-11-22", {"lamp": "Lamp", "vase": "Vase"}),
        ("2026-11-23", {"lamp": "Bright Lamp", "vase": "Vase"}),
        ("2026-11-24", {"lamp": "Bright Lamp", "vase": "Vase", "rug": "Rug"}),
    ],
)
def test_versions_from_after_the_date_are_not_read(tmp_path: Path, date: str, known: dict[str, str]) -> None:
    run = night(tmp_path, HISTORY, date, timestamp="changed")
    assert texts_of(run) == known
    record = ingest_catalog(run)
    assert record.rows == 4
    assert record.later == sum(line.split(",")[2][:10] > date for line in HISTORY.splitlines()[1:])


def test_profiles_of_users_from_after_the_date_are_not_read_either(tmp_path: Path) -> None:
    run = night(tmp_path, HISTORY, "2026-11-22", timestamp="changed")
    record = ingest_users(run)
    assert (record.users, record.later) == (2, 2)


def test_an_overwritten_table_is_read_as_it_is_now_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """There is nothing else to read: without these items their events would be lost."""
    run = night(tmp_path, OVERWRITTEN, "2026-11-22", timestamp="changed")
    with caplog.at_level(logging.INFO):
        assert texts_of(run) == {"lamp": "Bright Lamp", "vase": "Vase"}
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.getMessage() == (
        "items: 1 rows are from after 2026-11-22. There is one version of each of the items: those of 1 are read as "
        "they are now"
    )


def test_a_repeated_row_makes_no_history_of_an_overwritten_table(tmp_path: Path) -> None:
    repeated = OVERWRITTEN + "vase,Vase,2026-11-22\nlamp,Bright Lamp,2026-11-23\n"
    run = night(tmp_path, repeated, "2026-11-22", timestamp="changed")
    assert texts_of(run) == {"lamp": "Bright Lamp", "vase": "Vase"}


def test_without_a_column_of_times_the_last_row_wins(tmp_path: Path) -> None:
    known = texts_of(night(tmp_path, HISTORY, "2026-11-20"))
    assert known == {"lamp": "Bright Lamp", "vase": "Vase", "rug": "Rug"}


def test_a_night_before_all_versions_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        ingest_catalog(night(tmp_path, HISTORY, "2026-10-01", timestamp="changed"))
    assert str(refused.value) == (
        f"inputs.items: none of the 4 rows of {tmp_path}/table.csv can be used: all of them lie after the night's date "
        "2026-10-01, the oldest is of 2026-11-22T23:59:59+00:00; give a later --date, or --date newest for the day of "
        "the newest event"
    )
