"""Counts what stored lists are like, for the checks before they are published.

Shapes: R rows, L lists, I items, S bins of scores.

The lists are read as a reader would read them, so that a fault of the writer, of the storage or of a plug-in is found.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.evaluation.list_shape import NUM_BINS, bin_scores
from recsys.schema import RECOMMENDATIONS

#: The first places of a list, which are counted separately (`num_top_10` of ITEM_REPORT).
TOP = 10

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFigures:
    """Counts of the lists in one file or in all files of a night. They can be added."""

    lists: int = 0
    rows: int = 0
    short: int = 0
    """Lists with fewer items than `full` of `count_lists`."""
    invalid: int = 0
    """Lists that break the contract of the table, see `count_lists`."""
    fault: str = ""
    """The first of them: what is wrong."""
    not_finite: int = 0
    """Rows whose score is NaN or infinite."""
    comparable: int = 0
    """Lists of at least two items."""
    equal: int = 0
    """Those of them in which all scores are equal."""
    shown: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """[I] in how many lists each item is."""
    top: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """[I] in how many lists each item is among the first `TOP`."""
    scores: Ints = field(default_factory=lambda: np.zeros((2, NUM_BINS), dtype=np.int64))
    """[2, S] see `recsys.evaluation.list_shape.bin_scores`."""

    def __add__(self, other: "ListFigures") -> "ListFigures":
        return ListFigures(
            lists=self.lists + other.lists,
            rows=self.rows + other.rows,
            short=self.short + other.short,
            invalid=self.invalid + other.invalid,
            fault=self.fault or other.fault,
            not_finite=self.not_finite + other.not_finite,
            comparable=self.comparable + other.comparable,
            equal=self.equal + other.equal,
            shown=_sum(self.shown, other.shown),
            top=_sum(self.top, other.top),
            scores=self.scores + other.scores,
        )


def _sum(left: Ints, right: Ints) -> Ints:
    """[I] the sum; the counts of no list may be shorter."""
    longer, shorter = sorted((left, right), key=len, reverse=True)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total


def count_lists(tables: Iterable[pa.Table], item_ids: pa.Array, full: int) -> ListFigures:
    """Count the lists of one file.

    A list is invalid if its ranks are not 1 … n in order, an item is in it twice or is not in the catalog, a score
    rises with the rank, or the file has another list of its user. A table of another schema than RECOMMENDATIONS counts
    as invalid lists only.

    Args:
        tables: The file's rows in their order, in pieces. A list may be in two pieces.
        item_ids: Ids of the catalog: string [I].
        full: Length of a list that is not short.
    """
    none = np.zeros(len(item_ids), dtype=np.int64)
    total = ListFigures(shown=none, top=none)
    users: list[pa.Array] = []
    for table in _whole_lists(tables):
        if table.schema.remove_metadata() != _SCHEMA:
            total += _wrong_schema(table)
        elif len(table):
            starts = _starts(table)
            users += table["user_id"].take(pa.array(starts)).chunks
            total += _count(table, starts, item_ids, full)
    return _with_second_lists(total, pa.chunked_array(users, pa.string()))


_SCHEMA = RECOMMENDATIONS.remove_metadata()


def _whole_lists(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, cut between two lists."""
    waiting: pa.Table | None = None
    for table in tables:
        if waiting is not None:
            table = pa.concat_tables([waiting, table])
        if not len(table) or "user_id" not in table.column_names:
            waiting = None
            yield table
            continue
        last = _starts(table)[-1]
        if last:
            yield table.slice(0, last)
        waiting = table.slice(last)
    if waiting is not None:
        yield waiting


def _starts(table: pa.Table) -> Ints:
    """First row of each list [L]."""
    users = table["user_id"].combine_chunks()
    changes = np.ones(len(users), dtype=bool)
    changes[1:] = np.asarray(pc.fill_null(pc.not_equal(users.slice(1), users.slice(0, len(users) - 1)), True))
    return np.flatnonzero(changes)


def _wrong_schema(table: pa.Table) -> ListFigures:
    lists = len(_starts(table)) if len(table) and "user_id" in table.column_names else 1
    expected = {column.name: column.type for column in _SCHEMA}
    wrong = [name for name in expected if name not in table.column_names]
    wrong += [f"{column.name} ({column.type})" for column in table.schema if expected.get(column.name) != column.type]
    fault = f"the columns differ from the schema: {', '.join(wrong) or 'their order, or nulls are allowed'}"
    return ListFigures(lists=lists, rows=len(table), invalid=lists, fault=fault)


def _with_second_lists(total: ListFigures, users: pa.ChunkedArray) -> ListFigures:
    """The same figures, in which each further list of a user is invalid.

    Args:
        total: Of the file.
        users: Whose each list of the file is [L].
    """
    second = len(users) - pc.count_distinct(users, mode="all").as_py()
    if not second:
        return total
    counts = pc.value_counts(users)
    user = counts.field("values").filter(pc.greater(counts.field("counts"), 1))[0].as_py()
    fault = f"user {user!r}: has lists at two places of the file"
    return replace(total, invalid=min(total.invalid + second, total.lists), fault=total.fault or fault)


def _count(table: pa.Table, starts: Ints, item_ids: pa.Array, full: int) -> ListFigures:
    lengths = np.diff(np.append(starts, len(table)))
    of_list = np.repeat(np.arange(len(starts)), lengths)
    items = np.asarray(pc.fill_null(pc.index_in(table["item_id"], value_set=item_ids), -1)).astype(np.int64)
    scores = table["score"].to_numpy().astype(np.float64)
    ranks = table["rank"].to_numpy()
    place = np.arange(len(table)) - np.repeat(starts, lengths)
    first = place == 0
    with np.errstate(invalid="ignore"):
        rises = ~first & (np.diff(scores, prepend=scores[:1]) > 0)
        equal = np.minimum.reduceat(scores, starts) == np.maximum.reduceat(scores, starts)
    order = np.lexsort((items, of_list))
    again = np.zeros(len(table), dtype=bool)
    again[order[1:]] = (items[order[1:]] == items[order[:-1]]) & (of_list[order[1:]] == of_list[order[:-1]])
    faults = {
        "the ranks are not 1 to n": ranks != place + 1,
        "an item is not in the catalog": items < 0,
        "an item is in the list twice": again & (items >= 0),
        "a score rises with the rank": rises,
    }
    wrong = np.logical_or.reduce(list(faults.values()))
    fault = ""
    if wrong.any():
        row = int(wrong.argmax())
        name = next(name for name, rows in faults.items() if rows[row])
        fault = f"user {table['user_id'][row].as_py()!r}: {name} (item {table['item_id'][row].as_py()!r})"
    return ListFigures(
        lists=len(starts),
        rows=len(table),
        short=int((lengths < full).sum()),
        invalid=len(np.unique(of_list[wrong])),
        fault=fault,
        not_finite=int((~np.isfinite(scores)).sum()),
        comparable=int((lengths > 1).sum()),
        equal=int((equal & (lengths > 1)).sum()),
        shown=np.bincount(items[items >= 0], minlength=len(item_ids)),
        top=np.bincount(items[(items >= 0) & (ranks <= TOP)], minlength=len(item_ids)),
        scores=bin_scores(scores, first),
    )
