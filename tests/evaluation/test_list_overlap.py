"""The share of a list that was there the night before, against sets of Python."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recsys.evaluation.list_overlap import count_tenths, shared_places

Lists = dict[str, set[int]]
SOME_LISTS = st.dictionaries(st.sampled_from("abcd"), st.sets(st.integers(0, 5), min_size=1, max_size=4), max_size=4)


def table(lists: Lists) -> pa.Table:
    rows = [{"user_id": user, "item_id": f"i{item}"} for user, items in lists.items() for item in sorted(items)]
    return pa.Table.from_pylist(rows, pa.schema([("user_id", pa.string()), ("item_id", pa.string())]))


@given(SOME_LISTS, SOME_LISTS)
def test_each_user_of_both_nights_has_a_share(tonight: Lists, before: Lists) -> None:
    shares = shared_places(table(tonight), table(before))
    expected = [len(items & before[user]) / len(items) for user, items in tonight.items() if user in before]
    assert sorted(shares.tolist()) == sorted(expected)
    assert sum(count_tenths(shares)) == len(expected)
