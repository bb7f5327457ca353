"""Which model a training continues, so that its validation users are none whom that model learned from."""

import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from recsys.data.item_counts import count_items
from recsys.data.splits import held_out_baskets, hold_out_last_basket
from recsys.model.checkpoint import ModelCard
from recsys.pipeline.model_records import WARM_START, WarmStart
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import FINETUNE, SHUFFLE_HISTORIES
from recsys.pipeline.stored.published_model import model_card, model_to_continue, published_refit
from recsys.pipeline.stored.shard_tables import read_interactions
from recsys.pipeline.training.learned_items import write_held_out_counts
from recsys.pipeline.training.training_budget import why_from_scratch
from recsys.pipeline.workers.cluster import for_each_part
from recsys.schema import HELD_OUT_BASKETS, ITEM_COUNTS
from recsys.storage.tables import write_table

logger = logging.getLogger(__name__)

#: A model is continued only if it left at least this share of the validation users for tonight: on a few of them nobody
#: can tell when to stop. Usually nearly all are left, since the model kept the same users out.
MIN_UNSEEN_SHARE = 0.5


def settle_warm_start(run: Run) -> ModelCard | None:
    """The model that training continues, None for random weights. A restart of the stage finds the same.

    The baskets that this training keeps out are stored with the model that it makes, for the night that continues it.
    """
    settled = run.warm_start
    if settled is None:
        card = model_to_continue(run) if run.config.train.warm_start else None
        if card is not None and (reason := why_from_scratch(run, card)):
            logger.info("finetune: %s: training starts with random weights, on all events", reason)
            card = None
        if card is not None and not run.storage.exists(run.held_out_path(card.model_id)):
            logger.info("%s does not say whom it kept out of training: only newer baskets validate it", card.model_id)
        settled = _settle(run, card)
    found = _held_out(run)
    if settled.model_id and len(found.baskets) < MIN_UNSEEN_SHARE * found.num_drawn:
        logger.info(
            "%s learned from the last baskets of %d of the %d validation users: training starts with random weights",
            *(settled.model_id, found.num_drawn - len(found.baskets), found.num_drawn),
        )
        settled = _settle(run, None)
        found = _held_out(run)
    write_table(run.storage, run.held_out_path(run.model_id), found.baskets, HELD_OUT_BASKETS)
    write_held_out_counts(run, found.item_counts)
    return model_card(run, settled.model_id) if settled.model_id else None


def _settle(run: Run, card: ModelCard | None) -> WarmStart:
    start = WarmStart(model_id="", trained_until="")
    if card is not None:
        start = WarmStart(
            model_id=card.model_id,
            trained_until=card.trained_until,
            reused_refit=published_refit(run, card.model_id),
        )
    run.remember_part(FINETUNE, WARM_START, start)
    return start


class _HeldOut(NamedTuple):
    """What is kept out of training."""

    num_drawn: int
    """Users who are drawn for validation."""
    baskets: pa.Table
    """HELD_OUT_BASKETS of those whose last basket is kept out."""
    item_counts: list[pa.Table]
    """ITEM_COUNTS of these baskets, for each shard."""


def _held_out(run: Run) -> _HeldOut:
    histories = run.record(SHUFFLE_HISTORIES)
    reader = partial(_reader, run)
    records = for_each_part(histories.shards, reader, label="validation users", rows=histories.rows)
    tables = [pa.table(record["held_out"], schema=HELD_OUT_BASKETS) for record in records]
    counts = [pa.table(record["item_counts"], schema=ITEM_COUNTS) for record in records]
    return _HeldOut(sum(record["drawn"] for record in records), pa.concat_tables(tables), counts)


def _reader(run: Run) -> Callable[[str], Record]:
    def read(shard: str) -> Record:
        interactions = read_interactions(run, shard, ["user_id", "item_id", "timestamp"])
        past = run.split(interactions).train
        drawn = hold_out_last_basket(past, run.drawn_for_validation(past)).holdout
        kept_out = run.validation_split(interactions).holdout
        return {
            "drawn": len(held_out_baskets(drawn)),
            "held_out": held_out_baskets(kept_out).to_pydict(),
            "item_counts": count_items(kept_out).to_pydict(),
        }

    return read
