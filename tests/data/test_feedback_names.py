import datetime as dt

import pytest

from recsys.data.events.feedback_names import (
    compact_day,
    compact_name,
    compact_written_at,
    file_day,
    started_before,
    stored_day,
)

DAY = dt.date(2026, 11, 22)
STORED = "20261122T235959Z-serve-1-0123456789ab-000000.jsonl"
COMPACT = "20261122T000000Z-compact-20261124T021500Z-0123456789ab.jsonl.zst"


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("20261122T235959Z-serve-1-abc-000000.jsonl", True),
        ("20261123T000000Z-serve-1-abc-000000.jsonl", False),
        ("by-hand.jsonl", True),
    ],
)
def test_a_night_reads_the_files_that_were_opened_before_its_end(name: str, before: bool) -> None:
    assert started_before(f"feedback/{name}", dt.datetime(2026, 11, 23, tzinfo=dt.UTC)) is before


def test_a_compact_file_is_read_by_the_nights_that_would_have_read_its_sources() -> None:
    written_at = dt.datetime(2026, 11, 24, 2, 15, tzinfo=dt.UTC)
    assert compact_name(DAY, written_at, "0123456789ab") == COMPACT
    assert compact_written_at(COMPACT) == written_at
    for end in (dt.datetime(2026, 11, day, tzinfo=dt.UTC) for day in (21, 22, 23, 24)):
        assert started_before(COMPACT, end) is started_before(STORED, end)


def test_every_file_has_a_day_by_its_own_pattern_only() -> None:
    assert (stored_day(STORED), compact_day(STORED), file_day(f"a/{STORED}")) == (DAY, None, DAY)
    assert (stored_day(COMPACT), compact_day(COMPACT), file_day(COMPACT)) == (None, DAY, DAY)
    others = ["by-hand.jsonl", "20261122-export.jsonl", f"sub/{STORED}", f"{STORED}.gz", STORED.replace("1122", "1399")]
    others += ["20261122T235959Z-serve-1-abc-000000.jsonl"]
    assert [(stored_day(name), compact_day(name)) for name in others] == [(None, None)] * len(others)
