"""A night with a ledger of validated files writes the same bytes as a night that reads every file."""

import datetime as dt
import json
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from recsys.config.strict_json import as_json
from recsys.errors import InputError
from recsys.pipeline.inputs import input_parts, read_events, validated_files
from recsys.pipeline.inputs.ingest_catalog import ingest_catalog
from recsys.pipeline.inputs.ingest_events import ingest_events
from recsys.pipeline.inputs.validated_files import VALIDATED
from recsys.pipeline.inputs.validated_uses import LedgerUse, delete_stale_entries
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run import Run
from recsys.settings import decode_config
from recsys.storage.filesystem import Storage

pytestmark = pytest.mark.usefixtures("reads_one_by_one")

HEADER = "who,what,when,kind,much,said"
#: Rows of every kind: good ones, faults of the row alone, items that some catalogs lack, and events of later days.
ROWS = [
    "u1,i1,2026-10-01,view,1,",
    "u1,i2,2026-10-03,buy,2,fine",
    "u2,i3,2026-10-05,view,,",
    "u3,i9,2026-10-02,view,1,",
    ",i1,2026-10-02,view,1,",
    "u4,,2026-10-02,view,1,",
    "u4,,2026-10-02,view,1,a lamp",
    "u5,i1,soon,view,1,",
    "u5,i9,soon,view,1,",
    "u6,i2,1970-01-01,view,1,",
    "u7,i2,2026-10-04,view,lots,",
    "u7,i9,2026-10-04,view,lots,",
    "u8,i4,2026-10-06,view,1," + "x" * 110_000,
    "u9,i5,2126-10-04,view,1,",
    "skip,i1,2026-10-02,view,1,",
    "u1,i1",
]


class Shop:
    """Files of events and of items, and nights that read them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._written = folder, 0
        (folder / "events").mkdir()
        self.items(range(1, 6))
        self.read: list[str] = []

    def items(self, numbers: "range | list[int]") -> None:
        """The catalog."""
        lines = [f"i{number},Lamp {number}" for number in numbers]
        (self.folder / "items.csv").write_text("\n".join(["item_id,title", *lines, ""]))

    def write(self, name: str, rows: list[str]) -> None:
        """A new or changed file; its time of change differs from all before, as on a disk with a fine clock."""
        path = self.folder / "events" / f"{name}.csv"
        path.write_text("\n".join([HEADER, *rows, ""]))
        self._written += 1
        os.utime(path, ns=(self._written * 10**9, self._written * 10**9))

    def night(self, day: int, storage: str = "warehouse", **events: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The record of a night's ingest, and the files of events and of the quarantine."""
        columns = {"user_id": "who", "item_id": "what", "timestamp": "when", "event": "kind", "weight": "much"}
        inputs = {
            "events": {
                "path": str(self.folder / "events"),
                "format": "csv",
                "columns": columns | {"text": "said"},
                "where": "who <> 'skip' or who is null",
            }
            | events,
            "items": {"path": str(self.folder / "items.csv"), "format": "csv", "text": "{title}"},
            "max_quarantine_rate": 1.0,
        }
        raw = {"storage": str(self.folder / storage), "date": f"2026-10-{day:02}", "inputs": inputs}
        run = open_run(decode_config(raw))
        ingest_catalog(run)
        self.read.clear()
        record = asdict(ingest_events(run))
        record.pop("peak_memory_mb")
        text = json.dumps(record, default=str).replace(run.folder.run_id, "<run>")
        return json.loads(text), files_of(run)

    def fresh_night(self, day: int, **events: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The same in an empty storage."""
        with tempfile.TemporaryDirectory(dir=self.folder) as storage:
            return self.night(day, storage, **events)

    @property
    def storage(self) -> Storage:
        """Of the nights with a ledger."""
        return Storage(str(self.folder / "warehouse"))


def files_of(run: Run) -> dict[str, bytes]:
    found = {}
    for folder in (f"{run.folder.dir}/events", run.folder.quarantine_dir):
        for name in run.storage.list(folder):
            if not name.startswith("items"):
                found[f"{Path(folder).name}/{name}"] = run.storage.read_bytes(f"{folder}/{name}")
    return found


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose `read` names the files that the last night read."""
    shop = Shop(tmp_path)
    read_file = input_parts.read_file

    def noted(source: Any, task: Any, file: str, *rest: Any) -> Any:
        shop.read.append(Path(file).stem)
        return read_file(source, task, file, *rest)

    monkeypatch.setattr(read_events, "read_file", noted)
    return shop


@st.composite
def _histories(draw: st.DrawFn) -> list[tuple[dict[str, list[str]], list[int], int]]:
    """For each night: the files that are written, or removed where they have no rows; the catalog; and the day."""
    rows = st.lists(st.sampled_from(ROWS), max_size=6)
    files = st.dictionaries(st.sampled_from("abcd"), rows, max_size=3)
    catalogs = st.lists(st.integers(1, 9), min_size=1, unique=True)
    nights = st.tuples(files, catalogs, st.integers(1, 8))
    return draw(st.lists(nights, min_size=2, max_size=4, unique_by=lambda night: night[2]))


@given(nights=_histories())
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_files_come_change_and_go(nights: list[tuple[dict[str, list[str]], list[int], int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder))
        shop.write("always", ROWS)
        for written, catalog, day in nights:
            shop.items(catalog)
            for name, rows in written.items():
                if rows:
                    shop.write(name, rows)
                else:
                    (shop.folder / "events" / f"{name}.csv").unlink(missing_ok=True)
            assert outcome(lambda day=day: shop.night(day)) == outcome(lambda day=day: shop.fresh_night(day))


def outcome(night: Callable[[], Any]) -> Any:
    """What a night writes, or why it refuses its input."""
    try:
        return night()
    except InputError as error:
        return type(error), len(str(error).splitlines())


def test_only_new_and_changed_files_are_read(shop: Shop) -> None:
    for name in "abc":
        shop.write(name, ROWS)
    record, _ = shop.night(5)
    assert shop.read == ["a", "b", "c"]
    assert record["quarantined"] > 0

    shop.write("b", ROWS[:3])
    shop.write("d", ROWS)
    (shop.folder / "events" / "a.csv").unlink()
    night = shop.night(6)
    assert shop.read == ["b", "d"]
    assert night == shop.fresh_night(6)


def test_other_settings_have_entries_of_their_own(shop: Shop) -> None:
    shop.write("a", ROWS)
    shop.night(5)
    night = shop.night(5, decimal=",")
    assert shop.read == ["a"]
    assert night == shop.fresh_night(5, decimal=",")
    shop.night(6)
    assert shop.read == [], "the first settings again"


def test_an_item_that_left_the_catalog_has_its_file_read_once(shop: Shop) -> None:
    shop.write("a", ROWS)
    shop.write("b", ["u1,i2,2026-10-01,view,1,"])
    shop.night(5)
    shop.items([2])
    first = shop.night(6)
    assert shop.read == ["a"], "its rows are not stored as the file has them"
    second = shop.night(7)
    assert shop.read == []
    assert (first, second) == (shop.fresh_night(6), shop.fresh_night(7))


@pytest.mark.parametrize("ending", ["json", "parquet"])
@pytest.mark.parametrize("damage", ["cut", "flip", "delete"])
def test_a_damaged_entry_is_read_from_its_file(
    shop: Shop, ending: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    shop.write("a", ROWS)
    shop.night(5)
    (name,) = [name for name in shop.storage.list(VALIDATED, recursive=True) if is_entry(name, ending)]
    path = Path(shop.storage.path(f"{VALIDATED}/{name}"))
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    else:
        middle = len(content) // 2
        path.write_bytes(
            content[:middle] + (b"" if damage == "cut" else bytes([content[middle] ^ 1]) + content[middle + 1 :])
        )
    with caplog.at_level(logging.WARNING):
        night = shop.night(6)
    assert shop.read == ["a"]
    assert night == shop.fresh_night(6)
    assert ("read again" in caplog.text) == ((ending, damage) != ("json", "delete"))
    shop.night(7)
    assert shop.read == [], "it is whole again"


def test_formats_of_plugins_are_not_kept(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(validated_files.FORMATS["csv"]), "__module__", "a_plugin")
    shop.write("a", ROWS)
    shop.night(5)
    shop.night(6)
    assert shop.read == ["a"]
    assert not shop.storage.exists(VALIDATED)


def is_entry(name: str, ending: str) -> bool:
    return name.endswith(ending) and not name.startswith("nights/")


NOW = dt.datetime(2026, 10, 20, tzinfo=dt.UTC)


def test_entries_that_no_night_used_for_long_are_stale(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for age, used in ((30, ["s/a", "s/b"]), (14, ["s/b"]), (1, ["s/c", "s/gone"])):
        use = LedgerUse(at=(NOW - dt.timedelta(days=age)).isoformat(), entries=used)
        storage.write_json(f"{VALIDATED}/nights/{age}.json", as_json(use))
    for entry in ("s/a", "s/b", "s/c", "t/a"):
        storage.write_json(f"{VALIDATED}/{entry}.json", {})
    assert delete_stale_entries(storage, NOW) == 2
    assert storage.list(VALIDATED, recursive=True) == ["nights/1.json", "nights/14.json", "s/b.json", "s/c.json"]
    assert delete_stale_entries(storage, NOW + dt.timedelta(days=1)) == 1
    assert delete_stale_entries(storage, NOW + dt.timedelta(days=14)) == 1
    assert storage.list(VALIDATED, recursive=True) == []


def test_stale_entries_are_deleted_with_the_notes_of_old_nights(shop: Shop) -> None:
    for name in "ab":
        shop.write(name, ROWS)
    shop.night(5)
    (shop.folder / "events" / "a.csv").unlink()
    shop.night(6)
    now = dt.datetime.now(dt.UTC)
    assert delete_stale_entries(shop.storage, now) == 0
    (first,) = [name for name in shop.storage.list(f"{VALIDATED}/nights") if name.startswith("2026-10-05")]
    note = f"{VALIDATED}/nights/{first}"
    stored = shop.storage.read_json(note)
    shop.storage.write_json(note, stored | {"at": (now - dt.timedelta(days=15)).isoformat()})
    assert delete_stale_entries(shop.storage, now) == 1
    assert not shop.storage.exists(note)
    shop.write("c", ROWS)
    shop.night(7)
    assert shop.read == ["c"], "the entry of b is there"


def test_an_object_store_is_asked_for_several_entries_at_a_time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcdefghijkl":
        shop.write(name, ROWS[: 1 + len(name)])
    shop.night(5)
    shop.storage.delete(next(f"{VALIDATED}/{n}" for n in shop.storage.list(VALIDATED, True) if is_entry(n, "parquet")))
    monkeypatch.setattr(validated_files.Ledger, "is_near", False)
    night = shop.night(6)
    assert len(shop.read) == 1
    assert night == shop.fresh_night(6)
