"""Tests that a finished night can be made again with other signals, and stays as it is."""

import sys
from pathlib import Path

import pandas as pd
import pytest

KEYS = ["user_id", "rank", "item_id"]


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import replay

    yield replay
    sys.modules.pop("replay")


def in_order(lists: pd.DataFrame) -> pd.DataFrame:
    return lists[KEYS].sort_values(KEYS[:2]).reset_index(drop=True)


def test_a_replayed_night_has_the_same_lists_and_with_one_signal_others(one_night, replay):
    storage = Path(one_night[0])
    published = in_order(pd.read_parquet(storage / one_night[1]["path"].rpartition("warehouse/")[2]))
    before = {path: path.read_bytes() for path in storage.rglob("*") if path.is_file()}

    l2 = replay.reopened(storage, ()).config.ease.l2
    pd.testing.assert_frame_equal(in_order(replay.replay(storage, [f"ease.l2={l2}"])), published)  # counts again
    assert len(replay.replay(storage, (), left_out=["trees", "short"])) == len(published)
    popular = in_order(replay.replay(storage, ["recommend.signals=[popularity]", "recommend.exclude_seen=false"]))

    assert popular.groupby("user_id").item_id.agg(tuple).nunique() <= 3  # by length of history and session alone
    assert {path: path.read_bytes() for path in storage.rglob("*") if path.is_file()} == before
    assert not list(storage.parent.glob("replay-*"))
