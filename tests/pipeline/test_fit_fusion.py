"""What validation users' candidates say, over the shards and back: nothing is lost, and what was taken is found."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from recsys.pipeline.fit_fusion import _CANDIDATES, _as_rows, _gathered, _path
from recsys.pipeline.run import Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.ranking.lists import Scored
from recsys.settings import decode_config
from recsys.signals.signals import SIGNALS
from recsys.signals.sparse_rows import SparseRows
from recsys.signals.user_profiles import Profiles
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder
from recsys.storage.tables import write_table
from tests.records import finish

RANDOM = np.random.default_rng(0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    inputs = {"events": {"path": "x"}, "items": {"path": "y", "text": "{title}"}}
    folder = RunFolder(Storage(str(tmp_path)), "2026-11-22-0123456789ab")
    return Run(config=decode_config({"inputs": inputs}), date=folder.date, folder=folder)


def scored(items: Sequence[Sequence[int]], length: int = 2) -> Scored:
    """Candidates with any signals, of users with so many items in their histories."""
    table = np.array(items, dtype=np.int64).reshape(len(items), -1)
    signals = RANDOM.normal(size=(*table.shape, len(SIGNALS))).astype(np.float32)
    users, had = np.arange(len(table)).repeat(length), np.tile(np.arange(length), len(table))
    histories = SparseRows.of(users, had, np.ones(len(users)), len(table))
    profiles = Profiles(
        newest=histories,
        whole=histories,
        repeats=SparseRows.none(len(table)),
        read=np.ones(len(table), dtype=bool),
        visiting=np.arange(len(table)) % 2 == 0,
        searches=np.zeros((len(table), 0), dtype=np.float32),
    )
    return Scored(items=table, signals=signals, profiles=profiles, searching=np.zeros(len(table), dtype=bool))


def pairs(*taken: tuple[int, int]) -> npt.NDArray[np.int64]:
    """(user, item) columns."""
    return np.array(taken, dtype=np.int64).reshape(-1, 2).T


def test_what_was_taken_is_marked_for_its_own_user() -> None:
    """Item 5 of user 10 is none of user 11's; what is no candidate is not taken; a block names its users."""
    block = scored([[-1, 2, 5], [-1, -1, 3], [0, 5, 9]])
    rows = _as_rows(block, pairs((10, 5), (10, 7), (11, 5), (12, 0), (12, 9)), np.array([10, 11, 12]), 3)
    assert rows["taken"].to_pylist() == [[False, False, True], [False, False, False], [True, False, True]]
    assert rows["cut"].to_pylist() == [3, 3, 3]
    assert rows["length"].to_pylist() == [2, 2, 2], "items of the history that is there"
    assert rows["visiting"].to_pylist() == [True, False, True]
    assert rows["valid"].to_pylist() == [[False, True, True], [False, False, True], [True, True, True]]


def test_shards_and_blocks_of_other_widths_come_together(run: Run) -> None:
    blocks = {
        "shard-00000": [scored([[1, 2], [-1, 4]]), scored([[3, 5, 8, 9]])],
        "shard-00001": [],
        "shard-00002": [scored([[7]])],
    }
    of_short, strangers = (
        {shard: [scored(block.items.tolist(), length) for block in parts] for shard, parts in blocks.items()}
        for length in (1, 3)
    )
    by_cut = {0: blocks, 1: of_short, -1: strangers}
    taken = pairs((0, 2), (2, 8))
    for shard, parts in blocks.items():
        starts = np.cumsum([0, *(len(block.items) for block in parts)])
        own = [np.arange(start, start + len(block.items)) for block, start in zip(parts, starts, strict=False)]
        rows = [
            _as_rows(block, taken, users, cut)
            for cut, those in by_cut.items()
            for block, users in zip(those[shard], own, strict=True)
        ]
        write_table(run.storage, _path(run, shard), rows, _CANDIDATES)
    finish(run, SHUFFLE_HISTORIES, shards=list(blocks))
    for choices, expected, length in zip(_gathered(run), by_cut.values(), (2, 1, 3), strict=True):
        first, second, last = (block.signals for parts in expected.values() for block in parts)
        assert (choices.signals.dtype, choices.signals.shape) == (np.float32, (4, 4, len(SIGNALS)))
        assert choices.valid.astype(int).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]
        assert [tuple(place) for place in np.argwhere(choices.taken)] == [(0, 1), (2, 2)]
        assert choices.lengths.tolist() == [length] * 4
        np.testing.assert_array_equal(choices.signals[:2, :2], first)
        np.testing.assert_array_equal(choices.signals[2], second[0])
        np.testing.assert_array_equal(choices.signals[3, :1], last[0])


def test_nobody_to_validate_is_an_empty_problem(run: Run) -> None:
    write_table(run.storage, _path(run, "shard-00000"), _CANDIDATES.empty_table(), _CANDIDATES)
    finish(run, SHUFFLE_HISTORIES, shards=["shard-00000"])
    for choices in _gathered(run):
        assert choices.signals.shape == (0, 0, len(SIGNALS))
        assert choices.valid.shape == choices.taken.shape == (0, 0)
