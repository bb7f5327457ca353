"""What the nightly run wrote for each user: the history that it read and the list that it published."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from recsys.data.histories import shards_of
from recsys.schema import HISTORIES, RECOMMENDATIONS
from recsys.serving.timely_rows import TimelyRows
from recsys.storage.lookup import KeyedFiles


@dataclass(frozen=True, kw_only=True)
class PublishedUsers:
    """Looks users up in the Parquet files of one run. Any number of threads may use it.

    A file may be damaged after the run was loaded, and a storage may go away. Then each method raises UnreadableError
    for the users whom it is about, so that requests of others, which are answered together with theirs, do not fail.
    """

    num_shards: int
    shards: frozenset[str]
    """Names of the shards that have users."""
    lists: KeyedFiles
    """RECOMMENDATIONS files by the name of the shard, looked up by user."""
    histories: KeyedFiles
    """HISTORIES files by the name of the shard, looked up by user."""
    timely: TimelyRows = field(default_factory=TimelyRows)
    """How both are read."""

    def history(self, user_id: str) -> dict[str, Any] | None:
        """The user's row of HISTORIES; None for a user whom the run did not know."""
        rows = self.stored(user_id)
        return rows.to_pylist()[0] if len(rows) else None

    def stored(self, user_id: str) -> pa.Table:
        """The user's row as a table of HISTORIES; no row for a user whom the run did not know."""
        return self._rows(self.histories, user_id, HISTORIES)

    def list_of(self, user_id: str) -> pa.Table:
        """The user's rows of RECOMMENDATIONS by rank; no rows for a user whom the run did not know."""
        return self._rows(self.lists, user_id, RECOMMENDATIONS)

    def _rows(self, files: KeyedFiles, user_id: str, schema: pa.Schema) -> pa.Table:
        (shard,) = shards_of(pa.array([user_id], pa.string()), self.num_shards)
        return self.timely.of(files, shard, user_id) if shard in self.shards else schema.empty_table()
