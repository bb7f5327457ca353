"""Which model a training continues, so that its validation users are none whom that model learned from."""

import logging
from collections.abc import Callable
from functools import partial

import pyarrow as pa

from recsys.data.splits import held_out_baskets, hold_out_last_basket
from recsys.model.checkpoint import ModelCard
from recsys.pipeline.cluster import for_each_part
from recsys.pipeline.model_records import WARM_START, WarmStart
from recsys.pipeline.published_model import model_card, model_to_continue
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import FINETUNE, SHUFFLE_HISTORIES
from recsys.pipeline.training_budget import why_from_scratch
from recsys.schema import HELD_OUT_BASKETS
from recsys.storage.tables import read_table, write_table

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
    num_drawn, held_out = _held_out(run)
    if settled.model_id and len(held_out) < MIN_UNSEEN_SHARE * num_drawn:
        logger.info(
            "%s learned from the last baskets of %d of the %d validation users: training starts with random weights",
            *(settled.model_id, num_drawn - len(held_out), num_drawn),
        )
        settled = _settle(run, None)
        num_drawn, held_out = _held_out(run)
    write_table(run.storage, run.held_out_path(run.model_id), held_out, HELD_OUT_BASKETS)
    return model_card(run, settled.model_id) if settled.model_id else None


def _settle(run: Run, card: ModelCard | None) -> WarmStart:
    start = WarmStart(
        model_id="" if card is None else card.model_id, trained_until="" if card is None else card.trained_until
    )
    run.remember_part(FINETUNE, WARM_START, start)
    return start


def _held_out(run: Run) -> tuple[int, pa.Table]:
    """Users who are drawn for validation, and HELD_OUT_BASKETS of those whose last basket is kept out."""
    histories = run.record(SHUFFLE_HISTORIES)
    reader = partial(_reader, run)
    records = for_each_part(histories.shards, reader, label="validation users", rows=histories.rows)
    tables = [pa.table(record["held_out"], schema=HELD_OUT_BASKETS) for record in records]
    return sum(record["drawn"] for record in records), pa.concat_tables(tables)


def _reader(run: Run) -> Callable[[str], Record]:
    def read(shard: str) -> Record:
        interactions = read_table(run.storage, f"{run.interactions_dir}/{shard}.parquet", ["user_id", "timestamp"])
        past = run.split(interactions).train
        drawn = hold_out_last_basket(past, run.drawn_for_validation(past)).holdout
        held_out = held_out_baskets(run.validation_split(interactions).holdout)
        return {"drawn": len(held_out_baskets(drawn)), "held_out": held_out.to_pydict()}

    return read
