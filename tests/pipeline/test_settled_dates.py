"""Dates with two readings: one day above 12 anywhere in an input settles them, else the night is refused."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from recsys.errors import InputError
from recsys.pipeline.input_records import IngestedEvents
from recsys.pipeline.inputs import input_parts as sources
from recsys.pipeline.inputs.ingest_catalog import ingest_catalog
from recsys.pipeline.inputs.ingest_events import ingest_events
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run import Run
from recsys.settings import decode_config

pytestmark = pytest.mark.usefixtures("reads_one_by_one")


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """A run over one file for each list of dates, of events and of versions of one item."""

    def make(events: Sequence[Sequence[str]], items: Sequence[Sequence[str]] = (), **inputs: Any) -> Run:
        _write(tmp_path / "events", "user_id,item_id,timestamp", "u,i,", events)
        versions = [[f"lamp of {day},{day}" for day in part] for part in items or [["2010-01-01"]]]
        _write(tmp_path / "items", "item_id,title,changed", "i,", versions)
        columns = {"timestamp": "changed"} if items else {}
        config = {
            "storage": str(tmp_path / "warehouse"),
            "date": "2010-12-31",
            "inputs": {
                "events": {"path": str(tmp_path / "events"), "format": "csv"},
                "items": {
                    "path": str(tmp_path / "items"), "format": "csv", "columns": columns, "text": "{title}"
                },
                **inputs,
            },
        }  # fmt: skip
        return open_run(decode_config(config))

    return make


def _write(folder: Path, header: str, before: str, parts: Sequence[Sequence[str]]) -> None:
    folder.mkdir()
    for number, lines in enumerate(parts):
        (folder / f"{number}.csv").write_text("\n".join([header, *(before + line for line in lines), ""]))


def ingest(run: Run) -> tuple[list[str], IngestedEvents]:
    """The dates of the accepted events, in order, and the record."""
    ingest_catalog(run)
    record = ingest_events(run)
    table = ds.dataset([run.storage.path(path) for path in record.parts], format="parquet").to_table()
    return sorted(time.date().isoformat() for time in table["timestamp"].to_pylist()), record


def test_one_file_settles_the_dates_of_all_files(make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run([["1/12/2010", "3/4/2010"], ["5/6/2010", "31/12/2010"]], items=[["5/6/2010"], ["13/1/2010"]])
    expected = ["2010-04-03", "2010-06-05", "2010-12-01", "2010-12-31"]

    assert ingest(run)[0] == expected
    catalog = ds.dataset(run.storage.path(run.catalog_path), format="parquet").to_table()
    assert catalog["text"].to_pylist() == ["lamp of 5/6/2010"]  # 5 June is later than 13 January
    plan = sources.plan_reads
    monkeypatch.setattr(sources, "plan_reads", lambda fs, files, form: plan(fs, files, form, 1))  # a part a file
    assert ingest(run)[0] == expected


def test_a_second_reading_leaves_no_quarantine_of_the_first(make_run: Callable[..., Run]) -> None:
    run = make_run([["1/12/2010", "13/1/2010", "3/1/2011"]], earliest_date="2010-02-01", max_quarantine_rate=1.0)

    dates, record = ingest(run)

    assert (dates, record.later) == (["2010-12-01"], 1)  # with the month first, the first event would be early
    assert record.reasons == {"early_timestamp": 1}
    aside = ds.dataset(run.storage.path(run.folder.quarantine_dir), format="parquet").to_table()
    assert aside["reason"].to_pylist() == ["early_timestamp"]


@pytest.mark.parametrize(
    ("events", "items", "words"),
    [
        ([["1/12/2010"], ["2/12/2010"]], [], "inputs.events: '1/12/2010' in the column 'timestamp' can be read in two"),
        (
            [["2010-12-01"]],
            [["1/12/2010"]],
            "inputs.items: '1/12/2010' in the column 'changed' can be read in two ways",
        ),
        ([["20101201"]], [], "Set inputs.events.timestamp_format to '%Y%m%d' for the date, or to epoch_s"),
    ],
)
def test_dates_with_two_readings_are_refused(make_run: Callable[..., Run], events: Any, items: Any, words: str) -> None:
    with pytest.raises(InputError) as error:
        ingest(make_run(events, items))
    assert words in str(error.value)


def test_implausible_times_are_bad_rows(make_run: Callable[..., Run]) -> None:
    run = make_run([["1970-01-01", "1989-12-31 23:59", "1990-01-01", "40513.35"]], max_quarantine_rate=1.0)

    dates, record = ingest(run)

    assert (dates, record.reasons) == (["1990-01-01"], {"early_timestamp": 3})
