"""What validation users took of their candidates, gathered over the shards: the data that the fusion is fitted on.

Each user comes with the whole history. Some come several times more, as a new user in a session would come, with the
first few items of it: few validation users are new, but users of the live service are.

Only users who took a candidate are kept: the others say nothing of the order of their candidates.

Shapes: B users, C candidates, N pairs of a user and an item, S numbers of all signals.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import newest_items, sort_interactions
from recsys.data.splits import show_first, validation_users
from recsys.model.features import index_items
from recsys.pipeline.run import Record, Run
from recsys.pipeline.scoring.load_snapshot import load_snapshot
from recsys.pipeline.stages import FINETUNE, SHUFFLE_HISTORIES
from recsys.pipeline.stored.shard_tables import read_interactions
from recsys.pipeline.stored.user_context import UserContext
from recsys.ranking.choices import Choices
from recsys.ranking.fusion import default_fusion
from recsys.ranking.scoring import Scored, scored_blocks
from recsys.signals.registry import columns_of, signals_of
from recsys.storage.tables import read_table, write_table

#: Different items that are left of the histories, to fit weights for users with few items.
CUTS = (1, 3, 10)
#: Validation users whose histories are cut: they fit a few weights.
CUT_USERS = 500
#: In the place of a cut: the whole history.
_WHOLE = 0

_CHOICES = pa.schema(
    [
        pa.field("cut", pa.int32(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("in_session", pa.bool_(), nullable=False),
        pa.field("valid", pa.list_(pa.bool_()), nullable=False),
        pa.field("taken", pa.list_(pa.bool_()), nullable=False),
        pa.field("numbers", pa.list_(pa.float32()), nullable=False),
    ]
)


def choices_gatherer(run: Run) -> Callable[[str], Record]:
    """Load what all shards share; the returned function writes the choices of one shard."""
    config = run.config.recommend
    snapshot = load_snapshot(run, run.model_id, config, "validation", default_fusion(signals_of(run.config)))
    share = cut_share(run)

    def gather(shard: str) -> Record:
        interactions = read_interactions(run, shard)
        learned, kept = run.validation_split(interactions)
        context = UserContext.read(run, shard)
        some = kept.filter(pa.array(validation_users(kept["user_id"], share, run.config.seed + 1)))
        whole = list(choices(context, learned, kept, _WHOLE))
        cut = [row for cut in CUTS for row in choices(context, learned, some, cut)]
        found = pa.concat_tables([_CHOICES.empty_table(), *whole, *cut])
        taken = pc.list_parent_indices(found["taken"]).filter(pc.list_flatten(found["taken"]))
        write_table(run.storage, _path(run, shard), found.take(pc.unique(taken)), _CHOICES)
        return {"rows": len(found), "users": sum(map(len, whole))}

    def choices(context: UserContext, learned: pa.Table, kept: pa.Table, cut: int) -> Iterator[pa.Table]:
        # a new user took nothing before, and takes nothing twice in a session
        asked = config.model_copy(update={"exclude_seen": True}) if cut else config
        wanted = context.targets(kept, learned, kept, run.cutoff, asked.exclude_seen)
        users = wanted["user_id"].combine_chunks()
        known, kept = (part.filter(pc.is_in(part["user_id"], value_set=users)) for part in (learned, kept))
        if cut:
            shown, rest = show_first(kept, wanted, cut)
            known = sort_interactions(pa.concat_tables([known, shown]))[0]
            wanted = context.targets(rest, known, kept, run.cutoff, asked.exclude_seen)
        histories = context.histories(known, wanted["user_id"], kept, run.cutoff, run.config.histories.kept_events)
        assert histories["user_id"].equals(wanted["user_id"]), "histories and targets are of other users"
        if cut:
            histories = newest_items(histories, cut)
        last = kept.group_by("user_id", use_threads=False).aggregate([("timestamp", "max")])["timestamp_max"]
        now = np.asarray(last.cast(pa.int64())).astype(np.float64)
        lists = wanted["item_ids"].combine_chunks()
        owners = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
        pairs = np.stack([owners, index_items(lists.flatten(), snapshot.item_ids)])

        def as_rows(own: npt.NDArray[np.int64], scored: Scored) -> pa.Table:
            return _as_rows(scored, pairs[:, np.isin(owners, own)], own, cut)

        yield from scored_blocks(as_rows, snapshot, histories, asked, now)

    return gather


def cut_share(run: Run) -> float:
    """The share of the validation users whose histories are cut, so that they are about `CUT_USERS`."""
    # a night that uses the published model again trains nothing, and its record counts no validation users
    users = run.record(FINETUNE).validation_users or len(run.held_out_baskets_of(run.model_id))
    return min(1.0, CUT_USERS / max(users, 1))


def read_choices(run: Run) -> tuple[Choices, Choices]:
    """The choices of those who took a candidate: with their whole histories, and with each cut of them."""
    tables = [read_table(run.storage, _path(run, shard)) for shard in run.record(SHUFFLE_HISTORIES).shards]
    table = pa.concat_tables(tables).combine_chunks()
    widths = pc.list_value_length(table["valid"]).to_numpy()
    shape = (len(table), int(widths.max(initial=0)))
    place = np.arange(shape[1]) < widths[:, None]
    valid, taken = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    num_columns = len(columns_of(signals_of(run.config)))
    numbers = np.zeros((*shape, num_columns), dtype=np.float32)
    valid[place], taken[place] = (
        table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False) for name in ("valid", "taken")
    )
    numbers[place] = table["numbers"].combine_chunks().flatten().to_numpy().reshape(-1, num_columns)
    lengths, in_session = (table[name].to_numpy(zero_copy_only=False) for name in ("length", "in_session"))
    choices = Choices(numbers=numbers, valid=valid, taken=taken, lengths=lengths, in_session=in_session)
    cut = table["cut"].to_numpy()
    return choices.rows(cut == _WHOLE), choices.rows(cut != _WHOLE)


def _as_rows(scored: Scored, pairs: npt.NDArray[np.int64], users: npt.NDArray[np.int64], cut: int) -> pa.Table:
    """The candidates of some users; those are taken that are among the users' (user, item) pairs [2, N]."""
    width = max(int(scored.items.max(initial=0)), int(pairs[1].max(initial=0))) + 1
    keys = users[:, None] * width + scored.items
    taken = np.isin(keys, pairs[0] * width + pairs[1]) & (scored.items >= 0)
    lists = (scored.items >= 0, taken, scored.numbers.reshape(len(taken), -1))
    profiles = scored.profiles
    columns = [np.full(len(taken), cut, dtype=np.int32), profiles.lengths.astype(np.int64), profiles.in_session]
    return pa.Table.from_arrays([*map(pa.array, columns), *map(_lists, lists)], schema=_CHOICES)


def _lists(rows: npt.NDArray[np.generic]) -> pa.Array:
    offsets = np.arange(len(rows) + 1) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(rows.reshape(-1)))


def _path(run: Run, shard: str) -> str:
    return f"{run.folder.dir}/choices/{shard}.parquet"
