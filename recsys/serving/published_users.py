"""What the nightly run wrote for each user: the history that it read and the list that it published."""

import logging
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from recsys.data.histories import shards_of
from recsys.errors import InputError
from recsys.schema import HISTORIES, RECOMMENDATIONS
from recsys.storage.lookup import KeyedFiles

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PublishedUsers:
    """Looks users up in the Parquet files of one run. Any number of threads may use it.

    A file may be damaged after the run was loaded. Its users are answered without it: requests of other users that are
    answered together with theirs must not fail.
    """

    num_shards: int
    shards: frozenset[str]
    """Names of the shards that have users."""
    lists: KeyedFiles
    """RECOMMENDATIONS files by the name of the shard, looked up by user."""
    histories: KeyedFiles
    """HISTORIES files by the name of the shard, looked up by user."""
    _warned: set[str] = field(default_factory=set)
    """Messages that the log has already."""

    def history(self, user_id: str) -> dict[str, Any] | None:
        """The user's row of HISTORIES; None for a user whom the run did not know."""
        rows = self.stored(user_id)
        return rows.to_pylist()[0] if len(rows) else None

    def stored(self, user_id: str) -> pa.Table:
        """The user's row as a table of HISTORIES; no row for a user whom the run did not know, or who is unreadable."""
        rows = self._rows(self.histories, user_id, HISTORIES)
        return HISTORIES.empty_table() if rows is None else rows

    def list_of(self, user_id: str) -> pa.Table | None:
        """The user's rows of RECOMMENDATIONS by rank; no rows for a user whom the run did not know.

        None: the file with the rows is damaged.
        """
        return self._rows(self.lists, user_id, RECOMMENDATIONS)

    def _rows(self, files: KeyedFiles, user_id: str, schema: pa.Schema) -> pa.Table | None:
        (shard,) = shards_of(pa.array([user_id], pa.string()), self.num_shards)
        if shard not in self.shards:
            return schema.empty_table()
        try:
            return files.rows(shard, user_id)
        except InputError as error:
            if str(error) not in self._warned:
                self._warned.add(str(error))
                logger.warning("users are answered without their rows in it: %s", error)
            return None
