"""Lists of a batch of users. The users who cannot be ranked get the most popular items, and are in quarantine."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.checks.quarantine import rows_as_json
from recsys.data.histories import shards_of
from recsys.pipeline.run import Run
from recsys.pipeline.stored.stored_item_counts import read_popularity
from recsys.ranking.config import RecommendConfig
from recsys.ranking.popular_lists import popular_batch
from recsys.ranking.rerank_counts import RerankCounts
from recsys.ranking.stand_ins import with_stand_ins
from recsys.ranking.variants import Variants, recommend_variants
from recsys.schema import RECOMMENDATIONS
from recsys.storage.tables import read_table


@dataclass(frozen=True, kw_only=True)
class ListsOfBatch:
    """RECOMMENDATIONS of a batch, by user in the order of the histories, and what re-ranking did."""

    lists: pa.Table
    counts: RerankCounts


def recommend_or_fall_back(
    variants: Variants,
    histories: pa.Table,
    config: RecommendConfig,
    failing: Sequence[int],
    popular: Callable[[pa.Table], pa.Table],
) -> ListsOfBatch:
    """The lists of B users. Those of users who do not fail are, to the last bit, what they are without the others.

    Args:
        variants: The night.
        histories: HISTORIES table of B users.
        config: Of the lists.
        failing: Rows of the users who cannot be ranked.
        popular: Makes the lists of such users, see `popular_lists`.
    """
    if not failing:
        done = recommend_variants(variants, histories, config)
        return ListsOfBatch(lists=done.lists, counts=done.counts)
    fallback = popular(histories.take(pa.array(failing)))
    stood_in = with_stand_ins(histories, failing)
    if stood_in is None:
        return ListsOfBatch(lists=fallback, counts=RerankCounts())
    done = recommend_variants(variants, stood_in, config, user_ids=histories["user_id"])
    ranked = ~np.isin(done.users, failing)
    lists = pa.concat_tables([done.lists.filter(pa.array(ranked)), fallback])
    fallback_rows = np.asarray(pc.index_in(fallback["user_id"], value_set=histories["user_id"].combine_chunks()))
    order = np.argsort(np.concatenate([done.users[ranked], fallback_rows]), kind="stable")
    return ListsOfBatch(lists=lists.take(pa.array(order)), counts=done.counts)


def failing_users_path(run: Run, shard: str) -> str:
    """QUARANTINE of the users of a shard who got popular items; there is no such file where nobody did."""
    return f"{run.folder.quarantine_dir}/recommend-{shard}.parquet"


def fallback_reasons(run: Run, histories: pa.Table) -> dict[str, str]:
    """Why users of a table HISTORIES got popular items, by user; who got a list of their own is left out."""
    present = set(run.storage.list(run.folder.quarantine_dir))
    shards = shards_of(histories["user_id"], run.config.histories.shards)
    paths = [failing_users_path(run, shard) for shard in shards]
    reasons = {
        json.loads(row["row"])["user_id"]: row["reason"]
        for path in paths
        if PurePosixPath(path).name in present
        for row in read_table(run.storage, path, ["row", "reason"]).to_pylist()
    }
    if not reasons:
        return {}
    written = (json.loads(row)["user_id"] for row in rows_as_json(histories.select(["user_id"])))  # long ids are cut
    users = zip(histories["user_id"].to_pylist(), written, strict=True)
    return {user: reasons[name] for user, name in users if name in reasons}


def popular_lists(run: Run, variants: Variants, config: RecommendConfig) -> Callable[[pa.Table], pa.Table]:
    """Makes the lists of users who cannot be ranked: the most popular items that may be recommended to them.

    Their `variant` is that of their users. The rules of the re-ranking do nothing to them.
    """
    popularity = read_popularity(run, "full")
    snapshot = variants.default
    available = snapshot.item_ids.filter(pa.array(snapshot.recommendable))

    def lists(histories: pa.Table) -> pa.Table:
        found = popular_batch(popularity, available, histories, config)
        names = pa.array(variants.names_of(histories["user_id"]), pa.string())
        rows = pc.index_in(found["user_id"], value_set=histories["user_id"].combine_chunks())
        place = RECOMMENDATIONS.get_field_index("variant")
        return found.set_column(place, RECOMMENDATIONS.field(place), names.take(rows.combine_chunks()))

    return lists
