"""What stored lists are like is counted the same however the rows are cut, and each fault is found and named."""

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.evaluation.list_figures import ListFigures, count_lists
from recsys.schema import RECOMMENDATIONS
from recsys.storage.filesystem import Storage
from recsys.storage.tables import iter_batches, write_table

ITEMS = pa.array([f"i{number}" for number in range(6)])


def lists(*rows: tuple[str, int, str, float]) -> pa.Table:
    """RECOMMENDATIONS of (user, rank, item, score)."""
    names = ("user_id", "rank", "item_id", "score")
    filled: list[dict[str, Any]] = [
        dict(zip(names, row, strict=True)) | {"source": "ranker", "reason": "r", "variant": ""} for row in rows
    ]
    return pa.Table.from_pylist(filled, schema=RECOMMENDATIONS)


GOOD = lists(
    *[("a", 1, "i0", 0.5), ("a", 2, "i1", 0.4), ("a", 3, "i2", 0.4)],
    *[("b", 1, "i1", -1.0), ("b", 2, "i4", -1.0)],
    ("c", 1, "i5", 2.0),
)


def counts(found: ListFigures) -> tuple[Any, ...]:
    return (found.lists, found.rows, found.short, found.invalid, found.fault, found.comparable, found.equal)


@given(st.lists(st.integers(0, 6), max_size=4))
def test_good_lists_are_counted_however_they_are_cut(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(GOOD)]
    pieces = [GOOD.slice(start, end - start) for start, end in pairwise(bounds)]
    found = count_lists(pieces, ITEMS, full=3)
    assert counts(found) == (3, 6, 2, 0, "", 2, 1)
    assert found.shown.tolist() == found.top.tolist() == [1, 2, 1, 0, 1, 1]
    assert found.scores.sum(axis=1).tolist() == [3, 3]  # first places, others


def test_the_first_ten_places_are_counted_by_rank_across_files() -> None:
    items = pa.array([f"j{number:02}" for number in range(12)])
    one = lists(*(("a", rank, f"j{rank - 1:02}", -float(rank)) for rank in range(1, 13)))
    other = lists(*(("b", rank, f"j{12 - rank:02}", -float(rank)) for rank in range(1, 13)))
    found = ListFigures() + count_lists([one], items, 12) + count_lists([other], items, 12)
    assert found.shown.tolist() == [2] * 12
    assert found.top.tolist() == [1, 1, *[2] * 8, 1, 1]


def test_a_file_as_it_is_stored_has_the_schema(tmp_path) -> None:
    storage = Storage(str(tmp_path))
    write_table(storage, "x.parquet", GOOD, RECOMMENDATIONS)
    assert count_lists(iter_batches(storage, "x.parquet", 2), ITEMS, 3).invalid == 0
    write_table(storage, "empty.parquet", GOOD.slice(0, 0), RECOMMENDATIONS)
    assert counts(count_lists(iter_batches(storage, "empty.parquet", 2), ITEMS, 3)) == (0, 0, 0, 0, "", 0, 0)


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (lists(("a", 1, "i0", 0.5), ("a", 3, "i1", 0.4)), "user 'a': the ranks are not 1 to n (item 'i1')"),
        (lists(("a", 2, "i0", 0.5), ("a", 1, "i1", 0.4)), "user 'a': the ranks are not 1 to n (item 'i0')"),
        (lists(("a", 1, "i0", 0.5), ("a", 2, "gone", 0.4)), "user 'a': an item is not in the catalog (item 'gone')"),
        (lists(("a", 1, "i0", 0.5), ("a", 2, "i0", 0.4)), "user 'a': an item is in the list twice (item 'i0')"),
        (lists(("a", 1, "i0", 0.4), ("a", 2, "i1", 0.5)), "user 'a': a score rises with the rank (item 'i1')"),
        (GOOD.drop_columns(["reason"]).slice(0, 3), "the columns differ from the schema: reason"),
        (
            GOOD.set_column(3, "score", GOOD["score"].cast(pa.float64())).slice(0, 3),
            "the columns differ from the schema: score (double)",
        ),
    ],
)
def test_a_fault_is_found_and_named(bad: pa.Table, fault: str) -> None:
    found = count_lists([bad], ITEMS, full=2) + count_lists([GOOD], ITEMS, full=2)
    assert (found.lists, found.invalid, found.fault) == (4, 1, fault)


@pytest.mark.parametrize("cut", [0, 1, 3, 4])
def test_two_lists_of_a_user_at_two_places_are_found(cut: int) -> None:
    rows = pa.concat_tables([GOOD, lists(("a", 1, "i3", 0.5), ("a", 2, "i4", 0.4))])
    found = count_lists([rows.slice(0, cut), rows.slice(cut)], ITEMS, full=1)
    assert (found.lists, found.invalid, found.fault) == (4, 1, "user 'a': has lists at two places of the file")


def test_scores_that_are_no_numbers_are_counted() -> None:
    found = count_lists([lists(("a", 1, "i0", np.inf), ("a", 2, "i1", np.nan), ("a", 3, "i2", 0.0))], ITEMS, 3)
    assert (found.not_finite, found.equal, found.invalid) == (2, 0, 0)
    assert found.scores.sum() == 1
