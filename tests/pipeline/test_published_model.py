"""Which published model a night continues and is compared with, by its card."""

import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from recsys.model.checkpoint import ModelCard
from recsys.model.ranker_spec import RankerSpec
from recsys.pipeline.run import Run
from recsys.pipeline.stages import ENCODE_TEXTS
from recsys.pipeline.stored.published_model import model_to_continue, published_model
from recsys.pipeline.stored.stored_fusion import write_fusion
from recsys.ranking.fusion import Fusion
from recsys.settings import decode_config
from recsys.storage.manifest import write_manifest
from recsys.storage.publish import publish
from recsys.storage.runs import RunFolder
from tests.records import finish

SPEC = RankerSpec(num_items=1, text_dim=8, item_dim=8, num_event_kinds=1, decoder={}, dropout=0.0, id_dropout=0.0)


@pytest.fixture
def run(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]) -> Run:
    made = make_night(draw_events(100, days=40))
    finish(made, ENCODE_TEXTS, encoder_id="configured")
    return made


def publish_model(
    run: Run, encoder_id: str, base_encoder_id: str | None, model_id: str = "ranker-x", **facts: Any
) -> str:
    """Publish a model of the day before, without lists."""
    folder = RunFolder(run.storage, f"2026-11-21-{model_id}")
    until = (run.cutoff - dt.timedelta(days=1)).isoformat()
    settings: dict[str, Any] = {"trained_until": until, "base": None, "max_length": 8, "event_kinds": [], "spec": SPEC}
    card = ModelCard(model_id=model_id, encoder_id=encoder_id, base_encoder_id=base_encoder_id, **{**settings, **facts})
    run.storage.write_bytes(f"models/{model_id}/model.json", json.dumps(card.as_dict()).encode())
    write_fusion(run, card.model_id, Fusion(weights={}))
    assert publish(folder, write_manifest(folder, [], {"model_id": card.model_id}), card.model_id)
    return card.model_id


@pytest.mark.parametrize(
    ("train", "encoder_id", "base_encoder_id", "continued", "compared"),
    [
        ("frozen", "configured", None, True, True),
        ("frozen", "tuned", "configured", False, True),
        ("frozen", "another", None, False, False),
        ("frozen", "tuned", "another", False, False),
        ("frozen", "configured", "another", True, True),  # what was trained there is configured here
        ("lora", "configured", None, True, True),
        ("lora", "tuned", "configured", True, True),
        ("full", "tuned", "another", False, False),
    ],
)
def test_an_encoder_of_the_same_origin_is_compared_and_continued_where_it_learns(
    run: Run, train: str, encoder_id: str, base_encoder_id: str | None, continued: bool, compared: bool
) -> None:
    model_id = publish_model(run, encoder_id, base_encoder_id)
    config = decode_config(run.config.model_dump(mode="json") | {"encoder": {"train": train}})
    tonight = dataclasses.replace(run, config=config)
    for found, expected in ((model_to_continue(tonight), continued), (published_model(tonight), compared)):
        assert (found.model_id if found else None) == (model_id if expected else None)


def test_a_model_that_saw_the_holdout_is_neither(run: Run) -> None:
    publish_model(run, "configured", None, trained_until=run.end.isoformat())
    assert model_to_continue(run) is None
    assert published_model(run) is None


def test_a_leave_one_out_backtest_takes_no_published_model(
    make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]
) -> None:
    """The last event of most users is older than the end of any model's training."""
    backtest = make_night(draw_events(100, days=40), protocol="leave-one-out")
    finish(backtest, ENCODE_TEXTS, encoder_id="configured")
    publish_model(backtest, "configured", None)
    assert model_to_continue(backtest) is None
    assert published_model(backtest) is None
