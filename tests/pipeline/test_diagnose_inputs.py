"""The checks of storage and inputs: what is ok, and what to do where it is not."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import InputError
from recsys.pipeline.doctor import diagnose_inputs as module
from recsys.pipeline.doctor.diagnose_inputs import diagnose_inputs
from recsys.pipeline.doctor.diagnose_storage import diagnose_storage
from recsys.pipeline.doctor.diagnosis import Diagnosis, diagnose
from recsys.settings import Config, decode_config
from recsys.storage.filesystem import Storage
from tests.conftest import END

Write = Callable[..., Config]


@pytest.fixture
def config(tmp_path: Path) -> Write:
    """A config over CSV files of these rows."""

    def write(events: str, items: str = "item_id,title\na,Lamp\nb,Vase\n", **inputs: Any) -> Config:
        (tmp_path / "events.csv").write_text(f"user_id,item_id,timestamp\n{events}")
        (tmp_path / "items.csv").write_text(items)
        named: dict[str, Any] = {
            "events": {"path": f"{tmp_path}/events.csv", "format": "csv"},
            "items": {"path": f"{tmp_path}/items.csv", "format": "csv", "text": "{title}"},
        }
        named |= inputs
        return decode_config({"storage": f"{tmp_path}/warehouse", "inputs": named})

    return write


def checks(config: Config, date: dt.date = END) -> dict[str, Diagnosis]:
    return {each.check: each for each in diagnose_inputs(config, date)}


GOOD = "u,a,2026-11-20\n" * 30
BEFORE = dt.date(2026, 11, 20)


def test_good_rows_are_ok_and_nothing_is_written(config: Write, tmp_path: Path) -> None:
    found = checks(config(GOOD + "u,b,2026-11-21\n"), BEFORE)
    assert [each.ok for each in found.values()] == [True, True]
    assert found["items"].found == f"all 2 rows of {tmp_path}/items.csv: 2 usable"
    assert (
        found["events"].found == f"all 31 rows of {tmp_path}/events.csv: 30 usable, 1 after the night's date {BEFORE}"
    )
    assert not (tmp_path / "warehouse").exists()


def test_bad_rows_are_told_with_their_reason_and_refused_above_the_limit(config: Write) -> None:
    bad = "u,z,2026-11-20\nu,a,yesterday\n"
    few = checks(config(GOOD * 3 + bad, max_quarantine_rate=0.05))["events"]
    assert few.ok
    assert "90 usable, 2 would be quarantined" in few.found
    assert "unknown_item 1 in 'item_id': 'z' (1)" in few.found
    assert "unreadable_timestamp 1 in 'timestamp': 'yesterday' (1)" in few.found
    many = checks(config(GOOD + bad, max_quarantine_rate=0.05))["events"]
    assert not many.ok
    assert "above inputs.max_quarantine_rate=5.0% the night is refused" in many.way_out


def test_ids_that_are_words_for_missing_values_are_known_where_the_config_says_so(config: Write) -> None:
    items = "item_id,title\nNA,Namibia\n"
    assert checks(config("u,NA,2026-11-20\n", items, missing_values=[]))["events"].ok


def test_older_files_may_lack_a_column_and_no_file_may(
    config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_ROWS", 20)
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "1.csv").write_text(f"user_id,item_id,timestamp\n{GOOD}")
    (tmp_path / "events" / "2.csv").write_text("user_id,item_id,timestamp,action\nu,a,2026-11-21,view\n")

    def found(column: str) -> Diagnosis:
        raw = config("").model_dump(exclude_unset=True)
        raw["inputs"]["events"] = {"path": f"{tmp_path}/events", "format": "csv", "columns": {"event": column}}
        return checks(decode_config(raw))["events"]

    assert found("action").ok
    assert "column 'acton' is not in" in found("acton").found
    assert "did you mean 'action'?" in found("acton").found


def test_only_the_first_rows_are_judged(config: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_ROWS", 20)
    found = checks(config(GOOD + "u,z,never\n"))["events"]
    assert (found.ok, "the first 20 rows" in found.found, "quarantined" in found.found) == (True, True, False)
    monkeypatch.setattr(module, "MOST_ITEM_ROWS", 1)
    unread = checks(config("u,b,2026-11-20\n" * 20))["events"]
    assert unread.ok
    assert unread.found.endswith("20 usable; item ids were not checked: there are over 1 items")


def test_events_are_not_blamed_for_items_that_cannot_be_used(config: Write) -> None:
    """A second way out, about the ids of the events, would be wrong: mended items have these ids."""
    found = checks(config(GOOD, "item_id,title\na,La\xe9mp,\nb,Vase\n"))
    assert not found["items"].ok
    assert found["events"].ok
    assert found["events"].found.endswith("30 usable; item ids were not checked: mend the items first")
    bad_rows = checks(config(GOOD + ",a,2026-11-20\n", "item_id,title\na,La\xe9mp,\nb,Vase\n"))["events"].found
    counts, reason, _ = bad_rows.split("\n")
    assert counts.endswith("1 would be quarantined; item ids were not checked: mend the items first")
    assert reason.startswith("  missing_user 1")


def test_lines_that_are_no_rows_are_judged_with_the_rows_around_them(config: Write) -> None:
    """The night takes up to 5 % of them: the first rows must not count with the bad lines of the whole block."""
    lines = ("u,a,2026-11-20\n" * 50 + "u,a,2026-11-20,and more\n") * 2000
    items = "item_id,title\na,Lamp\nb,Vase\n" + ("b,Vase\n" * 50 + "b,Vase,blue\n") * 2000
    found = checks(config(lines, items))
    assert [each.ok for each in found.values()] == [True, True]
    assert all("1,000 usable, 20 would be quarantined" in each.found for each in found.values())


def test_items_that_were_updated_after_the_date_are_read_as_they_are_now(config: Write) -> None:
    """As the night reads them, where there is one row for each item."""

    def found(rows: str) -> Diagnosis:
        named = config(GOOD, f"item_id,title,updated\n{rows}")
        columns = named.inputs.items.columns.model_copy(update={"timestamp": "updated"})
        items = named.inputs.items.model_copy(update={"columns": columns})
        return checks(named.model_copy(update={"inputs": named.inputs.model_copy(update={"items": items})}), BEFORE)[
            "items"
        ]

    rows = "a,Lamp,2026-11-19\nb,Vase,2026-11-25\n"
    assert found(rows).found.endswith(f": 2 usable (1 of them from after {BEFORE}, read as they are now)")
    assert found(rows.replace("-19", "-25")).ok
    assert found(f"{rows}b,Vase,2026-11-25\n").found.endswith(
        f": 3 usable (2 of them from after {BEFORE}, read as they are now)"
    ), "a repeated row is no version"
    assert found(f"{rows}a,Lamp,2026-11-25\n").found.endswith(f": 1 usable, 2 after the night's date {BEFORE}")


def test_dates_are_read_as_the_rows_prove_it(config: Write) -> None:
    proved = checks(config("u,a,25/10/2026\nu,a,02/11/2026\nu,b,03/11/2026\n"))["events"]
    assert "3 usable" in proved.found
    open_question = checks(config("u,a,02/11/2026\n"))["events"]
    assert open_question.ok
    assert "The night reads all rows, which may settle this: inputs.events: '02/11/2026'" in open_question.found


def test_what_cannot_be_read_says_so_and_the_other_checks_run(config: Write, tmp_path: Path) -> None:
    lacking = checks(config("u,a,2026-11-20\n", items="id,title\na,Lamp\n"))
    assert (lacking["items"].ok, lacking["events"].ok) == (False, False)
    assert "item_id" in lacking["items"].found
    assert "see the line of the items" in lacking["events"].found
    (tmp_path / "elsewhere").mkdir()
    named = config(GOOD)
    events = named.inputs.events.model_copy(update={"path": f"{tmp_path}/elsewhere"})
    gone = checks(named.model_copy(update={"inputs": named.inputs.model_copy(update={"events": events})}))
    assert (gone["items"].ok, gone["events"].ok) == (True, False)
    later = checks(config("u,a,2026-11-21\n"), BEFORE)["events"]
    assert not later.ok
    assert later.way_out == "give a later --date, or --date newest"


def test_users_are_checked_where_the_config_has_them(config: Write, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user_id,city\nu,Rome\n,Paris\n")
    users = {"path": f"{tmp_path}/users.csv", "format": "csv", "columns": {"user_id": "user_id"}, "text": "{city}"}
    found = checks(config(GOOD, users=users, max_quarantine_rate=0.9))
    assert list(found) == ["items", "users", "events"]
    assert "1 usable, 1 would be quarantined" in found["users"].found


def test_the_storage_is_written_and_left_as_it_was(config: Write, tmp_path: Path) -> None:
    files, space = diagnose_storage(config(GOOD))
    assert (files.ok, space.ok) == (True, True)
    assert [path for path in (tmp_path / "warehouse").rglob("*") if path.is_file()] == []
    assert "GiB are free" in space.found


def test_a_storage_without_conditional_writes_is_no_good(config: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storage, "create_bytes", lambda *_: True)
    files, _ = diagnose_storage(config(GOOD))
    assert not files.ok
    assert "two nights could collide" in files.found


def test_an_error_is_an_outcome() -> None:
    def refuse() -> Diagnosis:
        raise InputError("no file; name one")

    def fail() -> Diagnosis:
        raise OSError("disk\nlines")

    assert diagnose("items", refuse) == Diagnosis(check="items", ok=False, found="no file; name one")
    assert diagnose("disk", fail, "mend it") == Diagnosis(
        check="disk", ok=False, found="OSError: disk", way_out="mend it"
    )


def test_events_without_rows_are_fine_in_a_new_shop(config: Write, tmp_path: Path) -> None:
    found = checks(config(""))["events"]
    assert (found.ok, found.found) == (
        True,
        f"{tmp_path}/events.csv has no rows yet: lists are made of texts until there are events",
    )
    inputs = config("").inputs.model_dump(mode="json") | {"events": None}
    assert set(checks(decode_config({"inputs": inputs}))) == {"items"}
