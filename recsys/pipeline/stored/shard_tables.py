"""Reads what the stage `histories` wrote of the events of one shard."""

from collections.abc import Sequence

import pyarrow as pa

from recsys.pipeline.run import Run
from recsys.schema import INTERACTIONS
from recsys.storage.tables import read_table


def read_interactions(run: Run, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
    """INTERACTIONS, sorted by user and time."""
    return read_table(run.storage, f"{run.interactions_dir}/{shard}.parquet", columns)


def read_non_positives(run: Run, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
    """INTERACTIONS of weight 0 or less, sorted; a shard without any has no file."""
    path = f"{run.non_positives_dir}/{shard}.parquet"
    if run.storage.exists(path):
        return read_table(run.storage, path, columns)
    return INTERACTIONS.empty_table().select(columns or INTERACTIONS.names)


def read_searches(run: Run, shard: str) -> pa.Table | None:
    """INTERACTIONS_WITH_TEXT of searches, sorted; None where no texts of events are read."""
    if run.config.inputs.event_settings.columns.text is None:
        return None
    return read_table(run.storage, f"{run.searches_dir}/{shard}.parquet")
