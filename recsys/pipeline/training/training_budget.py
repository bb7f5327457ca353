"""What a night trains the ranker on: all events, only new ones, or nothing, because training brings nothing here.

A night continues the published model with the events that this did not learn from, and with replayed windows. After
`train.full_every` days, and once its validation has fallen, the ranker starts with random weights on all events again,
so that nights do not drift away from what a training on all events gives.

With `train.budget: auto` a night measures what the ranker adds to the other signals. Where that was within noise for
three nights in a row, the ranker is trained every seventh night. In between the lists come from the published ranker,
with signals, counts and weights of the night. The log, the report and the last line of the job say so.
"""

import datetime as dt
import hashlib
import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow.compute as pc
from pydantic import ConfigDict

from recsys.config.strict_json import STRICT, as_json, from_json
from recsys.errors import NewerFormatError
from recsys.evaluation.gain import RelativeGain
from recsys.pipeline.model_records import WARM_START, WarmStart
from recsys.pipeline.run import CountedDays, Run
from recsys.pipeline.stages import FINETUNE, FIT_FUSION
from recsys.settings import EXECUTION_ONLY
from recsys.storage.record_kinds import TRAINING_PAST
from recsys.storage.tables import read_table

if TYPE_CHECKING:  # it loads torch, for which a refusal of the config need not wait
    from recsys.model.checkpoint import ModelCard

logger = logging.getLogger(__name__)

#: So many nights in a row without a measurable gain, and the ranker is trained less often.
PATIENCE_NIGHTS = 3
#: How often it is trained then, in days.
EVERY_DAYS = 7
#: A gain from this percentage on is worth a training, even if its interval reaches below 0.
WORTH_PERCENT = 1.0
#: Share of the items that were ever taken, or of the last week's events, that may be of items which the model does not
#: know. Above it the night trains.
MOST_NEW = 0.1
#: Settings that say when a night trains, and not how.
_NOT_OF_A_TRAINING = ("budget", "full_every", "replay", "max_validation_drop")


@dataclass(frozen=True, kw_only=True)
class TrainingPast:
    """What the next nights must know of a model's training; it is stored with the model, in ``training.json``."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    night: str
    """Date of the night that wrote it."""
    trained: str
    """Date of the night that trained the model; nights that use it again keep this date."""
    settings: str
    """Digest of the settings of that training; nights that use the model again keep it."""
    within_noise: int
    """Nights in a row, up to this one, in which the ranker added nothing that could be measured."""
    gain: RelativeGain | None
    """What the ranker added in the night; None: it was not measured."""
    full: str = ""
    """Date of the night that last trained it on all events; empty: an older version wrote this."""
    full_ndcg: float = 0.0
    """NDCG@10 of that training on its validation users."""
    ndcg: float = 0.0
    """NDCG@10 of the last training, on the validation users of its night."""


def settle_training(run: Run, warm: "ModelCard | None") -> WarmStart:
    """Decide whether the night trains. A restart of the stage finds the same.

    Args:
        run: After `settle_warm_start`.
        warm: The model that training would continue.
    """
    start = run.warm_start
    assert start is not None, "the warm start is not settled"
    if start.trains is None:
        reason = _why_not(run, warm)
        since = start.trained_until if reason is None and _learns_new_events(run, warm) else ""
        refit = "" if reason is None else start.reused_refit
        start = replace(start, trains=reason is None, reused=reason or "", reused_refit=refit, since=since)
        run.remember_part(FINETUNE, WARM_START, start)
    return start


def why_from_scratch(run: Run, published: "ModelCard") -> str:
    """Why the night trains on all events from random weights, instead of continuing a model; empty: it does not."""
    past, train = _past_of_same_settings(run, published), run.config.train
    if past is None or not past.full or _why_not(run, published) is not None:
        return ""
    if (run.date - dt.date.fromisoformat(past.full)).days >= train.full_every:
        return f"the ranker was last trained on all events on {past.full}"
    if past.ndcg < (1 - train.max_validation_drop) * past.full_ndcg:
        return f"validation fell to {past.ndcg:.4f}, from {past.full_ndcg:.4f} on {past.full}"
    return ""


def _learns_new_events(run: Run, warm: "ModelCard | None") -> bool:
    """Whether the night continues a model with new events alone. If it may not, it continues it with all events."""
    past = None if warm is None else _past_of_same_settings(run, warm)
    if warm is None or past is None or not past.full or run.force:
        return False  # by force a night begins again, for example since older events were corrected
    return _share_of_new(run, warm.model_id) <= MOST_NEW


def _past_of_same_settings(run: Run, published: "ModelCard") -> TrainingPast | None:
    """The past of a model that was trained with tonight's settings; None with an encoder that learns from baskets."""
    if run.config.encoder.train == "baskets":
        return None  # its vectors change in every night, and the ranker must learn to read them
    past = read_past(run, published.model_id)
    return past if past is not None and past.settings == settings_digest(run) else None


def _why_not(run: Run, warm: "ModelCard | None") -> str | None:
    """Why the night does not train; None: it does."""
    budget = run.config.train.budget
    if budget == "never":
        return "train.budget is never"
    if warm is None or budget == "full":
        return None
    if run.config.encoder.train == "baskets":
        return None  # the encoder learns in every night, and the ranker must learn to read its vectors
    past = read_past(run, warm.model_id)
    if past is None or past.gain is None or past.within_noise < PATIENCE_NIGHTS:
        return None
    if past.settings != settings_digest(run):
        logger.info("finetune: the settings of the training changed: the night trains")
        return None
    trained = dt.date.fromisoformat(past.trained)
    if (run.date - trained).days >= EVERY_DAYS:
        return None
    if (share := _share_of_new(run, warm.model_id)) > MOST_NEW:
        logger.info("finetune: %.0f %% of the items or of their events are new: the night trains", 100 * share)
        return None
    return f"the ranker adds {past.gain} here; trained every {EVERY_DAYS}th night, last on {trained}"


def remember_training(run: Run, gain: RelativeGain | None) -> None:
    """Store with the model what its ranker added tonight, for the nights that follow.

    Args:
        run: After its stage `finetune`.
        gain: What the ranker added; None: it was not measured, which counts as worth a training.
    """
    start, record = run.warm_start, run.record(FINETUNE)
    before = read_past(run, start.model_id) if start is not None and start.model_id else None
    digest, reused = settings_digest(run), record.reused
    on_all = bool(record.history) and not record.since
    nights = 0
    if gain is not None and gain.low <= 0 and gain.percent < WORTH_PERCENT:
        same = before is not None and before.settings == digest
        nights = before.within_noise if same and before is not None else 0
        nights += before is None or before.night < run.date.isoformat() or not same  # a night counts once
    past = TrainingPast(
        night=run.date.isoformat(),
        trained=before.trained if reused and before is not None else run.date.isoformat(),
        settings=before.settings if reused and before is not None else digest,
        within_noise=nights,
        gain=gain,
    )
    if on_all:
        past = replace(past, full=past.night, full_ndcg=record.validation_ndcg)
    elif before is not None:
        past = replace(past, full=before.full, full_ndcg=before.full_ndcg, ndcg=before.ndcg)
    if record.history:
        past = replace(past, ndcg=record.validation_ndcg)
    run.storage.write_json(_path(run, run.model_id), TRAINING_PAST.stamp(as_json(past)))


def training_answer(run: Run) -> dict[str, Any]:
    """`training` and `gains` for the last line of a night: whether it trained, and what ranker and texts add."""
    record = run.record(FINETUNE)
    done = record.reused or ("trained" if record.history else "nothing to learn from")
    if record.history and record.since:
        done = f"continued with the events since {record.since[:10]}"
    return {"training": done, "gains": {part: as_json(gain) for part, gain in run.record(FIT_FUSION).gains.items()}}


def read_past(run: Run, model_id: str) -> TrainingPast | None:
    """What is stored with a model; None: nothing, or something that another version wrote."""
    path = _path(run, model_id)
    if not run.storage.exists(path):
        return None
    try:
        return from_json(TrainingPast, TRAINING_PAST.current(run.storage.read_json(path), path))
    except (ValueError, NewerFormatError) as error:
        logger.info("%s does not fit this version, so the night trains (%s)", path, error)
        return None


def settings_digest(run: Run) -> str:
    """Digest of what decides a training, apart from the data."""
    config, encoder = run.config, run.config.encoder.for_digest()
    sections = {
        "encoder": {key: value for key, value in encoder.items() if key not in EXECUTION_ONLY["encoder"]},
        "ranker": config.ranker.model_dump(mode="json"),
        "train": config.train.model_dump(mode="json", exclude={*_NOT_OF_A_TRAINING, *EXECUTION_ONLY["train"]}),
        "histories": config.histories.model_dump(mode="json"),
        "holdout_days": config.gate.holdout_days,
        "seed": config.seed,
    }
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()[:16]


def _share_of_new(run: Run, model_id: str) -> float:
    """The larger share of what the model does not know: of the items that were taken, or of the last week's events."""
    vocabulary = read_table(run.storage, f"{run.model_path(model_id)}/vocabulary.parquet", ["item_id", "known"])
    known = vocabulary["item_id"].filter(vocabulary["known"]).combine_chunks()
    shares = []
    kinds: tuple[tuple[CountedDays, bool], ...] = (("train", False), ("train_7d", True))
    for kind, by_events in kinds:
        counts = read_table(run.storage, run.item_counts_path(kind))
        is_new = np.asarray(pc.invert(pc.is_in(counts["item_id"], value_set=known)))
        weight = counts["num"].to_numpy() if by_events else np.ones(len(counts))
        shares.append(float(weight[is_new].sum() / max(weight.sum(), 1)))
    return max(shares)


def _path(run: Run, model_id: str) -> str:
    return f"{run.model_path(model_id)}/training.json"
