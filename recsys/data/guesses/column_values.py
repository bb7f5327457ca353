"""What the values of a sample say about its columns: times, ids, texts, numbers."""

import math
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.config import TableInput
from recsys.data.times.date_evidence import DateEvidence
from recsys.data.times.moments import MICROS_PER_DAY
from recsys.data.times.timestamps import read_timestamps
from recsys.data.values.cells import as_boolean, as_number, as_text, is_list_of_texts
from recsys.data.values.missing_values import MISSING_VALUES, without_missing
from recsys.schema import TIMESTAMP

_EXAMPLES = 3
_EXAMPLE_CHARS = 30
#: A column is taken for what nearly all of its values can be read as.
_MOST = 0.95
#: Google Analytics numbers visitors by two numbers with a point between them: 1234567890.1690000001.
_CLIENT_OF_ANALYTICS = r"^\d{6,}\.\d{10}$"
#: Lists and objects in JSON, as text; a list of objects is both.
_LIST = r"(?s)^\[.*\]$"
_OBJECTS = r"(?s)^(\[\s*)?\{\s*[\"'].*\}(\s*\])?$"


@dataclass(frozen=True)
class ColumnValues:
    """The values of one column of a sample."""

    name: str
    cells: pa.ChunkedArray
    """[N] of the file's type."""
    source: TableInput

    @cached_property
    def texts(self) -> pa.ChunkedArray:
        """[N] text; null where the cell is empty, or has a word for that, such as NULL."""
        texts = pc.utf8_trim_whitespace(without_missing(as_text(self.cells), MISSING_VALUES))
        return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)

    @cached_property
    def known(self) -> pa.ChunkedArray:
        """The texts that are not empty."""
        return self.texts.drop_null()

    @cached_property
    def distinct(self) -> pa.Array:
        """The different texts."""
        return pc.unique(self.known)

    @property
    def examples(self) -> list[str]:
        """A few values, cut, on one line each."""
        shown = [value[:_EXAMPLE_CHARS] for value in self.distinct[:_EXAMPLES].to_pylist()]
        return ["".join(sign if sign.isprintable() else "�" for sign in value) for value in shown]

    @property
    def is_unique(self) -> bool:
        """Whether nearly no value comes twice."""
        return len(self.distinct) >= _MOST * len(self.known) > 0

    @property
    def is_constant(self) -> bool:
        """Whether all of several rows have the same value."""
        return len(self.distinct) == 1 and len(self.known) == len(self.cells) > 1

    @property
    def filled(self) -> float:
        """The share of the cells that are not empty."""
        return len(self.known) / max(len(self.cells), 1)

    @cached_property
    def times(self) -> pa.Array:
        """[N] TIMESTAMP; null where the value is no time."""
        return read_timestamps(self.cells, self.source).utc.cast(TIMESTAMP)

    @cached_property
    def is_time(self) -> bool:
        """Whether the values are points in time between 1990 and 2100."""
        if pa.types.is_boolean(self.cells.type) or not len(self.known):
            return False
        years = pc.year(self.times)
        return self._mostly(pc.and_(pc.greater_equal(years, 1990), pc.less(years, 2100)))

    @property
    def is_date(self) -> bool:
        """Whether the values are days without a time of the day."""
        return self._mostly(pc.equal(self.times, pc.floor_temporal(self.times, unit="day")))

    def is_same_day(self, date: "ColumnValues") -> bool:
        """Whether the times are of the days of the other column, in whatever time zone."""
        days = pc.divide(pc.subtract(self.times.cast(pa.int64()), date.times.cast(pa.int64())), MICROS_PER_DAY)
        return self._mostly(pc.and_(pc.greater_equal(days, -1), pc.less_equal(days, 1)))

    @property
    def dates(self) -> DateEvidence:
        """What the values prove about dates with two readings."""
        return read_timestamps(self.cells, self.source).evidence

    def span_in(self, timestamp_format: str) -> float:
        """Days between the first and the last time, read in this format; infinite where none can be read."""
        source = self.source.model_copy(update={"timestamp_format": timestamp_format})
        times = read_timestamps(self.cells, source).utc
        ends = pc.min_max(times.cast(pa.int64()))
        return (
            (ends["max"].as_py() - ends["min"].as_py()) / MICROS_PER_DAY if times.null_count < len(times) else math.inf
        )

    @cached_property
    def is_number(self) -> bool:
        """Whether the values are numbers."""
        return self._mostly(pc.is_valid(as_number(self.cells, ".")))

    @cached_property
    def has_negatives(self) -> bool:
        """Whether a value is a number below 0."""
        return bool(pc.any(pc.less(as_number(self.cells, "."), 0)).as_py())

    @cached_property
    def is_flag(self) -> bool:
        """Whether the values are yes and no, in one of the usual spellings."""
        return self._mostly(pc.is_valid(as_boolean(self.cells)))

    @cached_property
    def is_prose(self) -> bool:
        """Whether people can read the values: they have letters, and are no addresses, JSON objects, times or flags."""
        if self.is_time or self.is_flag or self.is_number:
            return False
        is_address = self._mostly(pc.match_substring(self.texts, "://"), 0.2)
        return self._mostly(self._match(r"\pL{2}"), 0.5) and not is_address and not self.holds_objects

    @property
    def holds_lists(self) -> bool:
        """Whether the values are lists, of Parquet or in JSON."""
        return pa.types.is_nested(self.cells.type) or self._mostly(self._match(_LIST))

    @property
    def holds_objects(self) -> bool:
        """Whether values are JSON objects, or lists of them; other lists may be empty."""
        return self._mostly(self._match(_OBJECTS), 0.2)

    @cached_property
    def may_be_id(self) -> bool:
        """Whether the values may be ids: there are several, of one line, and no decimals, lists or objects."""
        if pa.types.is_boolean(self.cells.type) or self.holds_lists or self.holds_objects:
            return False
        odd = pc.and_not(self._match(r"^[+-]?\d+\.\d*[1-9]\d*$|\n"), self._match(_CLIENT_OF_ANALYTICS))
        return not self._mostly(odd, 0.01) and len(self.distinct) > 1

    def share_in(self, others: "ColumnValues") -> float:
        """The share of the different values that the other column has too."""
        if not len(self.distinct):
            return 0.0
        common = pc.sum(pc.is_in(self.distinct, value_set=others.distinct)).as_py() or 0
        return float(common / len(self.distinct))

    def num_for_each(self, owner: "ColumnValues") -> float:
        """How many different values one value of the other column has, as a mean over those that have several rows."""
        rows = pa.table({"owner": owner.texts, "value": self.texts}).drop_null()
        owners = rows.group_by("owner").aggregate([("value", "count"), ("value", "count_distinct")])
        num = owners["value_count_distinct"].filter(pc.greater(owners["value_count"], 1))
        return float(pc.mean(num).as_py() or 1)

    def _match(self, pattern: str) -> pa.ChunkedArray:
        """[N] whether the text matches."""
        return pc.match_substring_regex(self.texts, pattern=pattern)

    def _mostly(self, holds: pa.ChunkedArray, least: float = _MOST) -> bool:
        """Whether so large a share of the cells that are not empty has it."""
        count = pc.sum(pc.fill_null(holds, False)).as_py() or 0
        return bool(count and count >= least * max(len(self.known), 1))


def values_of(rows: pa.Table, source: TableInput) -> dict[str, ColumnValues]:
    """The columns of a sample by name; nested columns that cannot be read as text are left out."""
    flat = [field.name for field in rows.schema if not pa.types.is_nested(field.type) or is_list_of_texts(field.type)]
    return {name: ColumnValues(name, rows[name], source) for name in flat}
