"""The fusion stage: what speaks for the candidates of the validation users, gathered over the shards, then weighed.

Each user comes several times: with the whole history, and as somebody who has just come would, in the midst of a
visit with its first few items; few of the users who are kept for validation are new, and whoever asks the live service
is. Where items are new, each comes once more among known items that are taken for new, since nobody took what is. The
fit itself is in `recsys.ranking.fusion_fit`.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import newest_items, sort_interactions
from recsys.data.splits import show_first, targets
from recsys.model.features import index_items
from recsys.pipeline.cluster import for_each_part, peak_of
from recsys.pipeline.count_priors import load_daily_popularity
from recsys.pipeline.match_cold_items import load_lending, load_stranger_lending
from recsys.pipeline.records import FittedFusion
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.pipeline.user_texts import ShardTexts
from recsys.pipeline.write_lists import fusion_path, load_snapshot
from recsys.ranking.fusion import PLAIN, Fusion
from recsys.ranking.fusion_fit import Choices, fit_fusion, fit_new, fit_short
from recsys.ranking.lists import Scored, scored_blocks
from recsys.signals.signals import SIGNALS
from recsys.storage.tables import read_table, write_table

logger = logging.getLogger(__name__)

#: With fewer validation users than this who took one of their candidates nothing is fitted.
MIN_USERS = 30
#: Different items that are left of the histories, to learn what the signals are worth for users with few.
CUTS = (1, 3, 10)
_WHOLE, _STRANGERS = 0, -1
_MICROS_PER_DAY = 86_400_000_000

_CANDIDATES = pa.schema(
    [
        pa.field("cut", pa.int32(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("visiting", pa.bool_(), nullable=False),
        pa.field("valid", pa.list_(pa.bool_()), nullable=False),
        pa.field("taken", pa.list_(pa.bool_()), nullable=False),
        pa.field("signals", pa.list_(pa.float32()), nullable=False),
    ]
)


def fuse(run: Run) -> FittedFusion:
    """Fit the weights of the signals on the last moments of the validation users, and keep them with the model."""
    config = run.config.recommend
    records = for_each_part(
        run.record(SHUFFLE_HISTORIES).shards,
        partial(_gatherer, run),
        label="fuse",
        num_workers=config.num_workers,
        cpus_per_worker=config.cpus_per_worker,
        gpus_per_worker=int(config.use_gpu),
    )
    whole, short, strangers = _gathered(run)
    users = int(whole.taken.any(axis=1).sum())
    fusion = PLAIN.only(config.signals)
    if users >= MIN_USERS:
        fusion = fit_short(fit_fusion(whole, SIGNALS, config.signals), whole, short, SIGNALS)
        if int(strangers.taken.any(axis=1).sum()) >= MIN_USERS:
            fusion = fit_new(fusion, strangers, SIGNALS)
        _tell(fusion)
    else:
        logger.warning(
            "fuse: %d of %d validation users took one of their candidates, and %d are needed to weigh the signals: the "
            "usual weights are taken",
            *(users, len(whole.taken), MIN_USERS),
        )
    run.storage.write_json(fusion_path(run, run.model_id), fusion.as_dict())
    return FittedFusion(
        rows=len(whole.taken),
        users=users,
        ndcg=round(fusion.ndcg, 6),
        alone={name: round(value, 6) for name, value in (fusion.parts or {}).items()},
        short_ndcg=round(fusion.short_ndcg, 6),
        short_ndcg_without=round(fusion.short_ndcg_without, 6),
        new_ndcg=round(fusion.new_ndcg, 6),
        new_ndcg_without=round(fusion.new_ndcg_without, 6),
        weights=fusion.weights,
        weights_short=fusion.short or {},
        weights_visit=fusion.visit or {},
        weights_new=fusion.new or {},
        peak_memory_mb=peak_of(records),
    )


def _tell(fusion: Fusion) -> None:
    parts = fusion.parts or {"none": 0.0}
    best = max(parts, key=lambda name: parts[name])
    logger.info(
        "fuse: ndcg@10 %.4f of %d users, best part %s %.4f; weights %s",
        *(fusion.ndcg, fusion.users, best, parts[best], _words(fusion.weights)),
    )
    if fusion.short is not None or fusion.visit is not None:
        logger.info(
            "fuse: in a visit, with %d to %d items ndcg@10 %.4f, %.4f without what is added for less than %d: %s; at "
            "other times %s",
            *(min(CUTS), max(CUTS), fusion.short_ndcg, fusion.short_ndcg_without, fusion.usual),
            *(_words(fusion.visit or {}) or "nothing", _words(fusion.short or {}) or "nothing"),
        )
    if fusion.new is not None:
        logger.info(
            "fuse: among items that are taken for new ndcg@10 %.4f, %.4f without what is added: %s",
            *(fusion.new_ndcg, fusion.new_ndcg_without, _words(fusion.new) or "nothing"),
        )


def _words(weights: dict[str, float]) -> str:
    return ", ".join(f"{name} {weight:.3g}" for name, weight in weights.items() if weight)


def _gatherer(run: Run) -> Callable[[str], Record]:
    config = run.config.recommend
    snapshot = load_snapshot(run, run.model_id, config, "validation", PLAIN)
    popularity, days = load_daily_popularity(run, snapshot.item_ids)
    snapshot = snapshot.at_moments(load_lending(run, "validation").popularity(popularity))
    lending = load_stranger_lending(run)
    snapshots = dict.fromkeys((_WHOLE, *CUTS), snapshot)
    if lending is not None:
        snapshots[_STRANGERS] = snapshot.as_if_new(lending)

    def gather(shard: str) -> Record:
        interactions = read_table(run.storage, f"{run.interactions_dir}/{shard}.parquet")
        learned, kept = run.validation_split(interactions)
        texts = ShardTexts.read(run, shard)
        rows = [row for cut in snapshots for row in candidates(texts, learned, kept, cut)]
        write_table(run.storage, _path(run, shard), pa.concat_tables([_CANDIDATES.empty_table(), *rows]), _CANDIDATES)
        return {"rows": sum(map(len, rows))}

    def candidates(texts: ShardTexts, learned: pa.Table, kept: pa.Table, cut: int) -> Iterator[pa.Table]:
        # who has just come has had nothing before, and takes nothing twice in one visit; what is new nobody had
        asked = config.model_copy(update={"exclude_seen": True}) if cut else config
        wanted = targets(kept, learned, asked.exclude_seen)
        users = wanted["user_id"].combine_chunks()
        known, kept = (part.filter(pc.is_in(part["user_id"], value_set=users)) for part in (learned, kept))
        if cut > 0:
            shown, rest = show_first(kept, wanted, cut)
            known = sort_interactions(pa.concat_tables([known, shown]))[0]
            wanted = targets(rest, known, asked.exclude_seen)
        histories = texts.histories(known, wanted["user_id"], kept, run.cutoff, run.config.histories.kept_events)
        assert histories["user_id"].equals(wanted["user_id"]), "histories and targets are of other users"
        if cut > 0:
            histories = newest_items(histories, cut)
        moments = kept.group_by("user_id", use_threads=False).aggregate([("timestamp", "max")])["timestamp_max"]
        now = np.asarray(moments.cast(pa.int64()))
        day = np.maximum(np.searchsorted(days, now // _MICROS_PER_DAY, side="right") - 1, 0)
        lists = wanted["item_ids"].combine_chunks()
        owners = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
        pairs = np.stack([owners, index_items(lists.flatten(), snapshot.item_ids)])
        for own, scored in scored_blocks(snapshots[cut], histories, asked, now.astype(np.float64), day):
            yield _as_rows(scored, pairs[:, np.isin(owners, own)], own, cut)

    return gather


def _as_rows(scored: Scored, pairs: npt.NDArray[np.int64], users: npt.NDArray[np.int64], cut: int) -> pa.Table:
    """Candidates of some users, those taken that are among their (user, item) pairs [2, N]."""
    width = max(int(scored.items.max(initial=0)), int(pairs[1].max(initial=0))) + 1
    keys = users[:, None] * width + scored.items
    taken = np.isin(keys, pairs[0] * width + pairs[1]) & (scored.items >= 0)
    lists = (scored.items >= 0, taken, scored.signals.reshape(len(taken), -1))
    profiles = scored.profiles
    columns = [np.full(len(taken), cut, dtype=np.int32), profiles.whole.lengths.astype(np.int64), profiles.visiting]
    return pa.Table.from_arrays([*map(pa.array, columns), *map(_lists, lists)], schema=_CANDIDATES)


def _lists(rows: npt.NDArray[np.generic]) -> pa.Array:
    offsets = np.arange(len(rows) + 1) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(rows.reshape(-1)))


def _gathered(run: Run) -> tuple[Choices, Choices, Choices]:
    """Of all shards' users with the whole of their histories, with each cut of them, and among strangers."""
    tables = [read_table(run.storage, _path(run, shard)) for shard in run.record(SHUFFLE_HISTORIES).shards]
    table = pa.concat_tables(tables).combine_chunks()
    widths = pc.list_value_length(table["valid"]).to_numpy()
    shape = (len(table), int(widths.max(initial=0)))
    place = np.arange(shape[1]) < widths[:, None]
    valid, taken = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    signals = np.zeros((*shape, len(SIGNALS)), dtype=np.float32)
    valid[place], taken[place] = (
        table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False) for name in ("valid", "taken")
    )
    signals[place] = table["signals"].combine_chunks().flatten().to_numpy().reshape(-1, len(SIGNALS))
    lengths, visiting = (table[name].to_numpy(zero_copy_only=False) for name in ("length", "visiting"))
    choices = Choices(signals=signals, valid=valid, taken=taken, lengths=lengths, visiting=visiting)
    cut = table["cut"].to_numpy()
    return choices.rows(cut == _WHOLE), choices.rows(cut > 0), choices.rows(cut == _STRANGERS)


def _path(run: Run, shard: str) -> str:
    return f"{run.folder.dir}/fusion/{shard}.parquet"
