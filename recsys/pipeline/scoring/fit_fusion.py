"""Fitting the weights of the signals on what validation users took of their candidates."""

import logging
from dataclasses import replace
from functools import partial

from recsys.pipeline.model_records import FittedFusion
from recsys.pipeline.run import Run
from recsys.pipeline.scoring.gather_choices import CUTS, choices_gatherer, read_choices
from recsys.pipeline.scoring.signal_gains import measure_gains
from recsys.pipeline.stages import FINETUNE, SHUFFLE_HISTORIES
from recsys.pipeline.stored.stored_fusion import write_fusion
from recsys.pipeline.training.training_budget import remember_training
from recsys.pipeline.workers.cluster import for_each_part, peak_of
from recsys.ranking.fusion import Fusion, default_fusion, untrained_fusion
from recsys.ranking.fusion_fit import fit_short, fit_weights
from recsys.ranking.trees_fit import FittedTrees, fit_trees
from recsys.signals.registry import SIGNALS, chosen_columns, columns_of, signals_of

logger = logging.getLogger(__name__)

#: With fewer validation users who took one of their candidates nothing is fitted.
MIN_USERS = 30


def fit_fusion(run: Run) -> FittedFusion:
    """Fit the weights of the signals on the last baskets of the validation users, and store them with the model."""
    config = run.config.recommend
    records = for_each_part(
        run.record(SHUFFLE_HISTORIES).shards,
        partial(choices_gatherer, run),
        label="fuse",
        rows=run.record(SHUFFLE_HISTORIES).rows,
        num_workers=config.num_workers,
        cpus_per_worker=config.cpus_per_worker,
        gpus_per_worker=int(config.use_gpu),
    )
    whole, short = read_choices(run)
    users, asked = len(whole.taken), sum(record["users"] for record in records)
    signals = signals_of(run.config)
    columns, allowed = columns_of(signals), chosen_columns(config.signals)
    trained = run.record(FINETUNE).trained
    if trained:
        default = default_fusion(signals)
    else:
        allowed = (allowed or frozenset(columns)) - SIGNALS["ranker"].columns.keys() or frozenset({"popularity"})
        default = untrained_fusion(signals, allowed)
    fusion, boosted, gains = default.only(allowed), FittedTrees(trees=None), {}
    if users >= MIN_USERS:
        fusion = fit_short(fit_weights(whole, columns, default, allowed), whole, short, columns)
        boosted = fit_trees(whole, columns, fusion, allowed)
        _log(fusion)
        _log_trees(boosted)
        gains = measure_gains(whole, columns, allowed, run.config.seed)
    else:
        logger.warning(
            "fuse: the default weights are used: %d of %d validation users took one of their candidates, and a fit "
            "needs %d",
            *(users, asked, MIN_USERS),
        )
    fusion = replace(fusion, trained=trained, trees=boosted.trees)
    write_fusion(run, run.model_id, fusion)
    remember_training(run, gains.get("ranker"))
    return FittedFusion(
        rows=asked,
        users=users,
        ndcg=round(fusion.ndcg, 6),
        alone={name: round(value, 6) for name, value in (fusion.parts or {}).items()},
        short_ndcg=round(fusion.short_ndcg, 6),
        short_ndcg_without=round(fusion.short_ndcg_without, 6),
        trees=0 if boosted.trees is None else len(boosted.trees.roots),
        trees_ndcg=round(boosted.ndcg, 6),
        trees_ndcg_without=round(boosted.ndcg_without, 6),
        weights=fusion.weights,
        weights_short=fusion.short or {},
        weights_session=fusion.session or {},
        gains=gains,
        peak_memory_mb=peak_of(records),
    )


def keep_popularity_alone(run: Run) -> bool:
    """Give the whole weight to popularity, where `recommend.signals` allows it; returns whether it does."""
    allowed = chosen_columns(run.config.recommend.signals)
    if allowed is not None and "popularity" not in allowed:
        return False
    alone = Fusion(weights={"popularity": 1.0}, trained=False)
    write_fusion(run, run.model_id, alone)
    return True


def _log(fusion: Fusion) -> None:
    parts = fusion.parts or {"none": 0.0}
    best = max(parts, key=lambda name: parts[name])
    logger.debug(
        "fuse: ndcg@10 %.4f on %d users, best number alone %s %.4f; weights %s",
        *(fusion.ndcg, fusion.users, best, parts[best], _words(fusion.weights)),
    )
    if fusion.short is not None or fusion.session is not None:
        logger.debug(
            "fuse: with the first %d to %d items of a session ndcg@10 %.4f, %.4f without the added weights; added for "
            "less than %d items in a session: %s; at other times: %s",
            *(min(CUTS), max(CUTS), fusion.short_ndcg, fusion.short_ndcg_without, fusion.typical_length),
            *(_words(fusion.session or {}) or "nothing", _words(fusion.short or {}) or "nothing"),
        )


def _log_trees(boosted: FittedTrees) -> None:
    if boosted.ndcg_without:
        kept = f"{len(boosted.trees.roots)} trees correct them" if boosted.trees else "no trees correct them"
        logger.info(
            "fuse: ndcg@10 of users who were not fitted on: %.4f by weights alone, %.4f with trees: %s",
            *(boosted.ndcg_without, boosted.ndcg, kept),
        )


def _words(weights: dict[str, float]) -> str:
    return ", ".join(f"{name} {weight:.3g}" for name, weight in weights.items() if weight)
