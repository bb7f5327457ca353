"""When the published ranker is used again without training, and when the night trains."""

import datetime as dt
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.evaluation.gain import RelativeGain
from recsys.model.checkpoint import ModelCard
from recsys.pipeline.model_records import WARM_START, WarmStart
from recsys.pipeline.run import Run
from recsys.pipeline.stages import ENCODE_TEXTS, FINETUNE
from recsys.pipeline.stored.published_model import model_card
from recsys.pipeline.training.settle_warm_start import settle_warm_start
from recsys.pipeline.training.training_budget import (
    EVERY_DAYS,
    PATIENCE_NIGHTS,
    TrainingPast,
    read_past,
    remember_training,
    settings_digest,
    settle_training,
    why_from_scratch,
)
from recsys.settings import decode_config
from tests.pipeline.conftest import DATE, DAY, IDS
from tests.pipeline.test_published_model import publish_model
from tests.records import finish

NOTHING = RelativeGain(percent=0.1, low=-0.4, high=0.6, users=300)
MUCH = RelativeGain(percent=4.0, low=2.0, high=6.0, users=300)
LIKELY = RelativeGain(percent=4.0, low=-1.0, high=9.0, users=30)
ENOUGH = PATIENCE_NIGHTS


def past_of(run: Run, **values: Any) -> TrainingPast:
    """A model that was trained four days ago and whose ranker added nothing in the last nights."""
    facts: dict[str, Any] = {
        "night": (DATE - DAY).isoformat(),
        "trained": (DATE - 4 * DAY).isoformat(),
        "settings": settings_digest(run),
        "within_noise": ENOUGH,
        "gain": NOTHING,
    }
    return TrainingPast(**facts | values)


@pytest.fixture
def continued(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]) -> Callable[..., Run]:
    """A night that would continue a published model with this past, which knows these items."""

    def make(
        known: list[str] = IDS, budget: str = "auto", encoder: str = "frozen", settled: bool = True, **past: Any
    ) -> Run:
        settings = {"train": {"budget": budget}, "encoder": {"train": encoder}}
        run = make_night(draw_events(300, days=40), settings=settings)
        finish(run, ENCODE_TEXTS, encoder_id="configured")
        model_id = publish_model(run, "configured", None)
        vocabulary = pa.table({"item_id": IDS, "known": [item in known for item in IDS]})
        pq.write_table(vocabulary, run.storage.path(f"models/{model_id}/vocabulary.parquet"))
        if past.get("within_noise") != "unknown":
            stored = past_of(run, **past)
            values = {**vars(stored), "gain": stored.gain and vars(stored.gain)}
            run.storage.write_bytes(f"models/{model_id}/training.json", json.dumps(values).encode())
        if settled:
            start = WarmStart(model_id=model_id, trained_until=card_of(run).trained_until)
            run.remember_part(FINETUNE, WARM_START, start)
        return run

    return make


def card_of(run: Run) -> ModelCard:
    return model_card(run, "ranker-x")


def test_a_ranker_that_adds_nothing_is_used_again(continued: Callable[..., Run]) -> None:
    run = continued()
    start = settle_training(run, card_of(run))
    assert start.trains is False
    assert start.reused == (
        f"the ranker adds +0.1 % [-0.4, +0.6] here; trained every 7th night, last on {DATE - 4 * DAY}"
    )
    assert start.reused_refit == "", "the model that was published had no refit"
    run.storage.delete("models/ranker-x/training.json")
    assert settle_training(run, card_of(run)) == start == run.warm_start, "a restart decides the same"


def test_the_refit_that_is_used_again_is_of_the_model_also_where_another_one_is_published_meanwhile(
    continued: Callable[..., Run],
) -> None:
    run = continued(settled=False)
    card = run.storage.read_json("models/ranker-x/model.json")
    run.storage.write_json("models/ranker-x/model.json", card | {"trained_until": "2026-01-01T00:00:00+00:00"})
    refit = publish_model(run, "configured", None, "ranker-x-refit", base="ranker-x")
    warm = settle_warm_start(run)
    publish_model(run, "configured", None, "ranker-y")
    start = settle_training(run, warm)
    assert (start.trains, start.model_id, start.reused_refit) == (False, "ranker-x", refit)


@pytest.mark.parametrize(
    "facts",
    [
        {"within_noise": ENOUGH - 1},
        {"within_noise": "unknown"},
        {"gain": None},
        {"trained": (DATE - EVERY_DAYS * DAY).isoformat()},
        {"settings": "of another config"},
        {"known": IDS[2:]},
        {"budget": "full"},
        {"encoder": "baskets"},
    ],
    ids=str,
)
def test_the_night_trains(continued: Callable[..., Run], facts: dict[str, Any]) -> None:
    run = continued(**facts)
    start = settle_training(run, card_of(run))
    assert (start.trains, start.reused, start.reused_refit) == (True, "", "")


def test_a_budget_of_never_trains_nothing(continued: Callable[..., Run]) -> None:
    run = continued(budget="never", within_noise=0)
    start = settle_training(run, card_of(run))
    assert (start.trains, start.reused) == (False, "train.budget is never")


def test_a_budget_of_never_takes_no_refit_of_a_model_that_it_cannot_continue(continued: Callable[..., Run]) -> None:
    run = continued(budget="never")
    run.remember_part(FINETUNE, WARM_START, WarmStart(model_id="", trained_until=""))
    start = settle_training(run, None)
    assert (start.trains, start.reused, start.reused_refit) == (False, "train.budget is never", "")


def test_without_a_model_to_continue_the_night_trains(continued: Callable[..., Run]) -> None:
    assert settle_training(continued(), None).trains


@pytest.mark.parametrize(
    ("gain", "reused", "before", "nights"),
    [
        (NOTHING, "", {"within_noise": 1}, 2),
        (NOTHING, "", {"within_noise": 1, "settings": "of another config"}, 1),
        (NOTHING, "", {"within_noise": 1, "night": DATE.isoformat()}, 1),  # the same night again
        (NOTHING, "the ranker adds nothing", {"within_noise": 5}, 6),
        (MUCH, "the ranker adds nothing", {"within_noise": 5}, 0),
        (LIKELY, "", {"within_noise": 2}, 0),
        (None, "", {"within_noise": 2}, 0),
    ],
)
def test_nights_without_a_gain_are_counted(
    continued: Callable[..., Run], gain: RelativeGain | None, reused: str, before: dict[str, Any], nights: int
) -> None:
    run = continued(**before)
    finish(run, FINETUNE, reused=reused)
    remember_training(run, gain)
    stored = read_past(run, run.model_id)
    assert stored is not None
    assert (stored.within_noise, stored.gain, stored.night) == (nights, gain, DATE.isoformat())
    trained = DATE - 4 * DAY if reused else DATE
    assert dt.date.fromisoformat(stored.trained) == trained


def test_a_model_that_is_used_again_keeps_the_settings_that_it_was_trained_with(continued: Callable[..., Run]) -> None:
    """A later night must not continue it with new events alone, as if tonight's settings had trained it."""
    run = continued(**WHOLE | {"settings": "of another config"}, budget="never")
    finish(run, FINETUNE, reused="train.budget is never")
    remember_training(run, MUCH)
    stored = read_past(run, run.model_id)
    assert stored is not None
    assert stored.settings == "of another config"


def test_the_first_night_counts_too(continued: Callable[..., Run]) -> None:
    run = continued()
    run.remember_part(FINETUNE, WARM_START, WarmStart(model_id="", trained_until=""))
    finish(run, FINETUNE)
    remember_training(run, NOTHING)
    stored = read_past(run, run.model_id)
    assert stored is not None
    assert stored.within_noise == 1


def test_the_budget_itself_and_the_lists_do_not_change_the_settings_of_a_training(
    continued: Callable[..., Run],
) -> None:
    run = continued()
    raw = run.config.model_dump(mode="json")

    def digest(section: str, key: str, value: object) -> str:
        changed = decode_config({**raw, section: {**raw[section], key: value}})
        return settings_digest(replace(run, config=changed))

    assert digest("train", "budget", "full") == digest("recommend", "top_k", 3) == settings_digest(run)
    assert digest("train", "full_every", 7) == digest("train", "replay", 1.0) == settings_digest(run)
    assert digest("encoder", "num_workers", 3) == digest("train", "max_failures", 9) == settings_digest(run)
    for change in (("train", "epochs", 3), ("ranker", "hidden_size", 32), ("encoder", "max_tokens", 16)):
        assert digest(*change) != settings_digest(run)


#: The past of a model that is continued: it was trained on all events a week ago, and adds something.
WHOLE: dict[str, Any] = {
    "gain": MUCH,
    "within_noise": 0,
    "full": (DATE - 7 * DAY).isoformat(),
    "full_ndcg": 0.5,
    "ndcg": 0.46,
}


def test_a_night_learns_from_new_events(continued: Callable[..., Run]) -> None:
    run = continued(**WHOLE)
    assert why_from_scratch(run, card_of(run)) == ""
    start = settle_training(run, card_of(run))
    assert (start.trains, start.since) == (True, card_of(run).trained_until)


def test_a_forced_night_learns_from_all_events(continued: Callable[..., Run]) -> None:
    run = replace(continued(**WHOLE), force=True)
    start = settle_training(run, card_of(run))
    assert (start.trains, start.since) == (True, "")


@pytest.mark.parametrize(
    "facts",
    [
        {"full": ""},
        {"within_noise": "unknown"},
        {"settings": "of another config"},
        {"known": IDS[2:]},
        {"encoder": "baskets"},
    ],
    ids=str,
)
def test_a_night_continues_a_model_with_all_events(continued: Callable[..., Run], facts: dict[str, Any]) -> None:
    run = continued(**WHOLE | facts)
    assert why_from_scratch(run, card_of(run)) == ""
    start = settle_training(run, card_of(run))
    assert (start.trains, start.since) == (True, "")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"full": (DATE - 28 * DAY).isoformat()}, f"the ranker was last trained on all events on {DATE - 28 * DAY}"),
        ({"full": (DATE - 27 * DAY).isoformat()}, ""),
        ({"ndcg": 0.449}, f"validation fell to 0.4490, from 0.5000 on {DATE - 7 * DAY}"),
        ({"ndcg": 0.449, "budget": "never"}, ""),
        ({"ndcg": 0.449, "gain": NOTHING, "within_noise": ENOUGH}, ""),  # the night does not train
        ({"ndcg": 0.449, "settings": "of another config"}, ""),
    ],
    ids=str,
)
def test_a_ranker_begins_again_after_some_weeks_and_where_validation_fell(
    continued: Callable[..., Run], facts: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = continued(settled=False, **WHOLE | facts)
    assert why_from_scratch(run, card_of(run)) == reason
    with caplog.at_level(logging.INFO):
        settle_warm_start(run)
    assert ("training starts with random weights, on all events" in caplog.text) == bool(reason)
    if reason:
        assert run.warm_start == WarmStart(model_id="", trained_until="")
        assert settle_training(run, None).since == ""


@pytest.mark.parametrize(
    ("record", "known", "stored"),
    [
        ({"history": [{}], "validation_ndcg": 0.7}, True, (DATE.isoformat(), 0.7, 0.7)),
        ({"history": [{}], "validation_ndcg": 0.7, "since": "2026-11-14"}, True, (WHOLE["full"], 0.5, 0.7)),
        ({"reused": "the ranker adds nothing"}, True, (WHOLE["full"], 0.5, 0.46)),
        ({}, False, ("", 0.0, 0.0)),
    ],
)
def test_the_last_training_on_all_events_is_remembered(
    continued: Callable[..., Run], record: dict[str, Any], known: bool, stored: tuple[str, float, float]
) -> None:
    run = continued(**WHOLE)
    if not known:
        run.remember_part(FINETUNE, WARM_START, WarmStart(model_id="", trained_until=""))
    finish(run, FINETUNE, **record)
    remember_training(run, MUCH)
    past = read_past(run, run.model_id)
    assert past is not None
    assert (past.full, past.full_ndcg, past.ndcg) == stored
