"""The fusion stage: what speaks for the candidates of the validation users, gathered over the shards, then weighed.

The fit itself is in `recsys.recommend.fusion`.
"""

import logging
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.splits import targets
from recsys.distributed.cluster import for_each_part, peak_of
from recsys.distributed.cold import load_lending
from recsys.distributed.night import Night, Record
from recsys.distributed.priors import load_daily_popularity
from recsys.distributed.score import fusion_path, load_snapshot
from recsys.distributed.user_texts import ShardTexts
from recsys.model.features import index_items
from recsys.recommend.fusion import PLAIN, fit_fusion
from recsys.recommend.pipeline import Scored, scored_blocks
from recsys.recommend.signals import SIGNALS
from recsys.storage.tables import read_table, write_table

logger = logging.getLogger(__name__)

#: With fewer validation users than this who took one of their candidates nothing is fitted.
MIN_USERS = 30
_MICROS_PER_DAY = 86_400_000_000

_CANDIDATES = pa.schema(
    [
        pa.field("valid", pa.list_(pa.bool_()), nullable=False),
        pa.field("taken", pa.list_(pa.bool_()), nullable=False),
        pa.field("signals", pa.list_(pa.float32()), nullable=False),
    ]
)


def fuse(night: Night) -> Record:
    """Fit the weights of the signals on the last moments of the validation users, and keep them with the model."""
    config = night.config.recommend
    records = for_each_part(
        night.record("histories")["shards"],
        partial(_gatherer, night),
        label="fuse",
        num_workers=config.num_workers,
        cpus_per_worker=config.cpus_per_worker,
        gpus_per_worker=int(config.use_gpu),
    )
    signals, valid, taken = _gathered(night)
    users = int(taken.any(axis=1).sum())
    fusion = PLAIN.only(config.signals)
    if users >= MIN_USERS:
        fusion = fit_fusion(signals, valid, taken, SIGNALS, config.signals)
        weights = ", ".join(f"{name} {weight:.3g}" for name, weight in fusion.weights.items() if weight)
        best = max(fusion.parts or {"none": 0.0}, key=lambda name: (fusion.parts or {}).get(name, 0.0))
        logger.info(
            "fuse: ndcg@10 %.4f of %d users, best part %s %.4f; weights %s",
            fusion.ndcg,
            users,
            best,
            (fusion.parts or {}).get(best, 0.0),
            weights,
        )
    else:
        logger.warning(
            "fuse: %d of %d validation users took one of their candidates, and %d are needed to weigh the signals: the "
            "usual weights are taken",
            *(users, len(taken), MIN_USERS),
        )
    night.storage.write_json(fusion_path(night, night.model_id), fusion.as_dict())
    return {
        "rows": len(taken),
        "users": users,
        "validation_ndcg@10": round(fusion.ndcg, 6),
        "validation_alone": {name: round(value, 6) for name, value in (fusion.parts or {}).items()},
        "weights": fusion.weights,
        "peak_memory_mb": peak_of(records),
    }


def _gatherer(night: Night) -> Callable[[str], Record]:
    config = night.config.recommend
    snapshot = load_snapshot(night, night.model_id, config, "validation", PLAIN)
    popularity, first_day = load_daily_popularity(night, snapshot.item_ids)
    snapshot = snapshot.at_moments(load_lending(night, "validation").popularity(popularity))

    def gather(shard: str) -> Record:
        interactions = read_table(night.storage, f"{night.interactions_dir}/{shard}.parquet")
        learned, kept = night.validation_split(interactions)
        wanted = targets(kept, learned, config.exclude_seen)
        kept = kept.filter(pc.is_in(kept["user_id"], value_set=wanted["user_id"].combine_chunks()))
        past = learned.filter(pc.is_in(learned["user_id"], value_set=wanted["user_id"].combine_chunks()))
        texts = ShardTexts.read(night, shard)
        histories = texts.histories(past, wanted["user_id"], kept, night.cutoff, night.config.histories.kept_events)
        assert histories["user_id"].equals(wanted["user_id"]), "histories and targets are of other users"
        moments = kept.group_by("user_id", use_threads=False).aggregate([("timestamp", "max")])["timestamp_max"]
        now = np.asarray(moments.cast(pa.int64()))
        day = np.clip(now // _MICROS_PER_DAY - first_day, 0, len(popularity) - 1)
        lists = wanted["item_ids"].combine_chunks()
        users = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
        pairs = np.stack([users, index_items(lists.flatten(), snapshot.item_ids)])
        blocks = scored_blocks(snapshot, histories, config, now.astype(np.float64), day)
        rows = [_as_rows(scored, pairs[:, np.isin(users, own)], own) for own, scored in blocks]
        write_table(
            night.storage, _path(night, shard), pa.concat_tables([_CANDIDATES.empty_table(), *rows]), _CANDIDATES
        )
        return {"users": len(histories)}

    return gather


def _as_rows(scored: Scored, pairs: npt.NDArray[np.int64], users: npt.NDArray[np.int64]) -> pa.Table:
    """Candidates of some users, those taken that are among their (user, item) pairs [2, N]."""
    width = max(int(scored.items.max(initial=0)), int(pairs[1].max(initial=0))) + 1
    keys = users[:, None] * width + scored.items
    taken = np.isin(keys, pairs[0] * width + pairs[1]) & (scored.items >= 0)
    columns = (scored.items >= 0, taken, scored.signals.reshape(len(taken), -1))
    return pa.Table.from_arrays([_lists(column) for column in columns], schema=_CANDIDATES)


def _lists(rows: npt.NDArray[np.generic]) -> pa.Array:
    offsets = np.arange(len(rows) + 1) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(rows.reshape(-1)))


def _gathered(night: Night) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Signals [B, C, S], valid [B, C] and taken [B, C] of all shards."""
    tables = [read_table(night.storage, _path(night, shard)) for shard in night.record("histories")["shards"]]
    table = pa.concat_tables(tables).combine_chunks()
    lengths = pc.list_value_length(table["valid"]).to_numpy()
    shape = (len(table), int(lengths.max(initial=0)))
    place = np.arange(shape[1]) < lengths[:, None]
    valid, taken = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    signals = np.zeros((*shape, len(SIGNALS)), dtype=np.float32)
    valid[place], taken[place] = (
        table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False) for name in ("valid", "taken")
    )
    signals[place] = table["signals"].combine_chunks().flatten().to_numpy().reshape(-1, len(SIGNALS))
    return signals, valid, taken


def _path(night: Night, shard: str) -> str:
    return f"{night.run.dir}/fusion/{shard}.parquet"
