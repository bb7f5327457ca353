"""The choices of validation users, over the shards and back: nothing is lost, and taken items are marked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from recsys.model.features import HistoryBatch, UserTexts
from recsys.pipeline.run import Run
from recsys.pipeline.scoring.gather_choices import _CHOICES, CUT_USERS, _as_rows, _path, cut_share, read_choices
from recsys.pipeline.stages import FINETUNE, SHUFFLE_HISTORIES
from recsys.ranking.scoring import Scored
from recsys.schema import HELD_OUT_BASKETS
from recsys.settings import decode_config
from recsys.signals.excluded import ExcludedItems
from recsys.signals.registry import columns_of, usual_signals
from recsys.signals.sparse_rows import SparseRows
from recsys.signals.user_profiles import UserProfiles
from recsys.signals.users import UserBlock
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder
from recsys.storage.tables import write_table
from tests.records import finish

RANDOM = np.random.default_rng(0)
NUM_COLUMNS = len(columns_of(usual_signals()))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    inputs = {"events": {"path": "x"}, "items": {"path": "y", "text": "{title}"}}
    folder = RunFolder(Storage(str(tmp_path)), "2026-11-22-0123456789ab")
    return Run(config=decode_config({"inputs": inputs}), date=folder.date, folder=folder)


def scored(items: Sequence[Sequence[int]], length: int = 2) -> Scored:
    """Candidates with any numbers, of users with this many items in their histories."""
    table = np.array(items, dtype=np.int64).reshape(len(items), -1)
    numbers = RANDOM.normal(size=(*table.shape, NUM_COLUMNS)).astype(np.float32)
    users, had = np.arange(len(table)).repeat(length), np.tile(np.arange(length), len(table))
    histories = SparseRows.of(users, had, np.ones(len(users)), len(table))
    profiles = UserProfiles(
        last=histories,
        history=histories,
        repeats=SparseRows.none(len(table)),
        has_tokens=np.ones(len(table), dtype=bool),
        in_session=np.arange(len(table)) % 2 == 0,
        searches=np.zeros((len(table), 0), dtype=np.float32),
        by_description=np.zeros(len(table), dtype=bool),
    )
    nothing = np.zeros((len(table), 1), dtype=np.int64)
    users = UserBlock(
        profiles=profiles,
        history=HistoryBatch(
            items=nothing, gaps=nothing, events=nothing, texts=nothing, text_kinds=nothing, lengths=nothing[:, 0]
        ),
        texts=UserTexts.none(),
        now=np.zeros(len(table)),
        excluded=ExcludedItems.none(),
    )
    searching = np.zeros(len(table), dtype=bool)
    return Scored(items=table, numbers=numbers, evidence={}, users=users, searching=searching)


def pairs(*taken: tuple[int, int]) -> npt.NDArray[np.int64]:
    """(user, item) columns."""
    return np.array(taken, dtype=np.int64).reshape(-1, 2).T


def test_about_as_many_histories_are_cut_where_the_night_trains_and_where_it_uses_a_model_again(run: Run) -> None:
    held_out = pa.table([range(2000), [0] * 2000], schema=HELD_OUT_BASKETS)
    write_table(run.storage, run.held_out_path(run.model_id), held_out, HELD_OUT_BASKETS)
    finish(run, FINETUNE, reused="train.budget is never")
    assert cut_share(run) == CUT_USERS / 2000
    finish(run, FINETUNE, validation_users=1000)
    assert cut_share(run) == CUT_USERS / 1000


def test_what_was_taken_is_marked_for_its_own_user() -> None:
    """Item 5 of user 10 is none of user 11's; what is no candidate is not taken; a block names its users."""
    block = scored([[-1, 2, 5], [-1, -1, 3], [0, 5, 9]])
    rows = _as_rows(block, pairs((10, 5), (10, 7), (11, 5), (12, 0), (12, 9)), np.array([10, 11, 12]), 3)
    assert rows["taken"].to_pylist() == [[False, False, True], [False, False, False], [True, False, True]]
    assert rows["cut"].to_pylist() == [3, 3, 3]
    assert rows["length"].to_pylist() == [2, 2, 2], "items of the history that is there"
    assert rows["in_session"].to_pylist() == [True, False, True]
    assert rows["valid"].to_pylist() == [[False, True, True], [False, False, True], [True, True, True]]


def test_shards_and_blocks_of_other_widths_come_together(run: Run) -> None:
    blocks = {
        "shard-00000": [scored([[1, 2], [-1, 4]]), scored([[3, 5, 8, 9]])],
        "shard-00001": [],
        "shard-00002": [scored([[7]])],
    }
    short = {shard: [scored(block.items.tolist(), 1) for block in parts] for shard, parts in blocks.items()}
    by_cut = {0: blocks, 1: short}
    taken = pairs((0, 2), (2, 8))
    for shard, parts in blocks.items():
        starts = np.cumsum([0, *(len(block.items) for block in parts)])
        own = [np.arange(start, start + len(block.items)) for block, start in zip(parts, starts, strict=False)]
        rows = [
            _as_rows(block, taken, users, cut)
            for cut, those in by_cut.items()
            for block, users in zip(those[shard], own, strict=True)
        ]
        write_table(run.storage, _path(run, shard), rows, _CHOICES)
    finish(run, SHUFFLE_HISTORIES, shards=list(blocks))
    for choices, expected, length in zip(read_choices(run), by_cut.values(), (2, 1), strict=True):
        first, second, last = (block.numbers for parts in expected.values() for block in parts)
        assert (choices.numbers.dtype, choices.numbers.shape) == (np.float32, (4, 4, NUM_COLUMNS))
        assert choices.valid.astype(int).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]
        assert [tuple(place) for place in np.argwhere(choices.taken)] == [(0, 1), (2, 2)]
        assert choices.lengths.tolist() == [length] * 4
        np.testing.assert_array_equal(choices.numbers[:2, :2], first)
        np.testing.assert_array_equal(choices.numbers[2], second[0])
        np.testing.assert_array_equal(choices.numbers[3, :1], last[0])


def test_nobody_to_validate_is_an_empty_problem(run: Run) -> None:
    write_table(run.storage, _path(run, "shard-00000"), _CHOICES.empty_table(), _CHOICES)
    finish(run, SHUFFLE_HISTORIES, shards=["shard-00000"])
    for choices in read_choices(run):
        assert choices.numbers.shape == (0, 0, NUM_COLUMNS)
        assert choices.valid.shape == choices.taken.shape == (0, 0)
