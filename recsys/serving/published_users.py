"""What the nightly run wrote for each user: the history that it read and the list that it published."""

import logging
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from recsys.data.histories import shard_of
from recsys.errors import InputError
from recsys.schema import HISTORIES, RECOMMENDATIONS
from recsys.storage.lookup import KeyedFiles

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PublishedUsers:
    """Looks users up in the Parquet files of one run. Any number of threads may use it.

    A user whose rows cannot be read, because a file was damaged after the run was loaded, is answered as one whom the
    run did not know: requests of other users that are answered together with it must not fail.
    """

    num_shards: int
    shards: frozenset[str]
    """Names of the shards that have users."""
    lists: KeyedFiles
    """RECOMMENDATIONS files by the name of the shard, looked up by user."""
    histories: KeyedFiles
    """HISTORIES files by the name of the shard, looked up by user."""

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
        shard = f"shard-{int(shard_of(pa.array([user_id], pa.string()), self.num_shards)[0]):05d}"
        if shard not in self.shards:
            return schema.empty_table()
        try:
            return files.rows(shard, user_id)
        except InputError as error:
            logger.warning("a user is answered as an unknown one: %s", error)
            return schema.empty_table()
