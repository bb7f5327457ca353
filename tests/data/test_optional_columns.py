import logging

import pyarrow as pa
import pytest

from recsys.data.config import EventColumns, EventsInput, ItemColumns, ItemsInput, UsersInput
from recsys.data.files.optional_columns import LackingColumns, check_lacking, optional_columns
from recsys.errors import InputError

EVENTS = EventsInput(path="e", columns=EventColumns(weight="w", text="words"))
ITEMS = ItemsInput(
    path="i",
    columns=ItemColumns(item_id="sku", title="name", available="on", timestamp="at"),
    text="{name} {sku}",
    attributes=["color"],
)


def test_ids_and_times_are_needed() -> None:
    assert set(optional_columns(EVENTS)) == {"w", "words"}
    assert set(optional_columns(ITEMS)) == {"name", "color", "on"}
    assert set(optional_columns(UsersInput(path="u", text="{age} {user_id}"))) == {"age"}


def test_a_column_that_older_files_lack_is_null_there_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    parts = [LackingColumns(EVENTS) for _ in range(2)]
    old, new = pa.table({"user_id": ["a", "b"]}), pa.table({"user_id": ["c"], "w": [2.0], "words": ["x"]})

    filled = [parts[0].fill(old, "1.csv"), parts[0].fill(old, "2.csv"), parts[1].fill(new, "3.csv")]

    assert filled[0].to_pylist() == [{"user_id": user, "w": None, "words": None} for user in "ab"]
    assert filled[2] == new
    check_lacking([part.close() for part in parts], EVENTS)
    assert caplog.messages == [
        f"inputs.events.columns.{key}: column {name!r} is missing in 4 rows, as in 2.csv; it counts as empty there"
        for key, name in (("weight", "w"), ("text", "words"))
    ]


def test_in_json_a_file_may_lack_every_column_and_a_filter_finds_names_in_any_case() -> None:
    """Null is written by no key: a file of page views has no items."""
    events = EVENTS.model_copy(update={"format": "jsonl", "where": "Kind <> 'page' and \"p.id\" is not null"})
    assert set(optional_columns(events)) == {"Kind", "p.id", "user_id", "item_id", "timestamp", "w", "words"}
    full = pa.table({name: ["x"] for name in ("user_id", "item_id", "timestamp", "kind", "p.id", "w", "words")})
    part = LackingColumns(events)

    assert part.fill(full, "1.jsonl") == full
    filled = part.fill(pa.table({"user_id": ["a"], "kind": ["page"]}), "2.jsonl")

    assert filled.to_pylist() == [
        {"user_id": "a", "kind": "page", "p.id": None, "item_id": None, "timestamp": None, "w": None, "words": None}
    ]
    assert part.close()["rows"] == dict.fromkeys(("item_id", "p.id", "timestamp", "w", "words"), 1)
    check_lacking([part.close()], events)
    other = LackingColumns(events)
    other.fill(full.drop_columns("kind"), "3.jsonl")
    with pytest.raises(InputError, match=r"inputs\.events\.where: column 'Kind' is not in 3\.jsonl"):
        check_lacking([other.close()], events)


def test_a_column_that_no_file_has_is_refused() -> None:
    part = LackingColumns(EVENTS)
    part.fill(pa.table({"user_id": ["a"], "words": ["x"], "W2": [1]}), "1.csv")

    with pytest.raises(InputError, match=r"inputs\.events\.columns\.weight: column 'w' is not in 1\.csv.*W2"):
        check_lacking([part.close()], EVENTS)


def test_blocks_without_a_row_change_nothing() -> None:
    part = LackingColumns(EVENTS)

    assert part.fill(pa.table({}), "1.csv") == pa.table({})
    assert part.close()["rows"] == {}
