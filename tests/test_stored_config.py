"""Configs that are stored with a run, as other releases wrote them."""

import logging
from typing import Any

import pytest

from recsys.config.stored import decode_stored
from recsys.errors import ConfigError
from recsys.settings import Config, decode_config

INPUTS: dict[str, Any] = {
    "events": {"path": "e", "format": "csv"},
    "items": {"path": "i", "format": "csv", "text": "{title}"},
}
WHERE = "w/runs/r/config.yaml"


def read(**sections: Any) -> Config:
    return decode_stored(Config, {"inputs": INPUTS, **sections}, WHERE)


def test_old_names_are_moved() -> None:
    found = read(
        linear={"ridge": 7.0, "neighbours": 50},
        train={"adversarial": 0.5, "event_weights": {"buy": 2.0}, "epochs": 3},
        rerank={"new_items": 0.2, "pool": 30, "tail": 0.3},
    )
    assert (found.ease.l2, found.ease.neighbours) == (7.0, 50)
    assert (found.train.adversarial_epsilon, found.train.epochs) == (0.5, 3)
    assert found.inputs.event_weights["buy"] == 2.0
    assert (found.rerank.cold_item_slots, found.rerank.diversity_pool, found.rerank.long_tail_boost) == (0.2, 30, 0.3)


def test_null_under_an_old_name_is_the_default_and_new_names_count() -> None:
    found = read(train={"event_weights": None}, rerank={"tail": 0.3, "long_tail_boost": 0.1})
    assert found.inputs.event_weights == decode_config({"inputs": INPUTS}).inputs.event_weights
    assert found.rerank.long_tail_boost == 0.1


def test_unknown_keys_are_left_out_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    raw = {
        "inputs": INPUTS | {"items": INPUTS["items"] | {"sparkle": 1}},
        "moon": {"phase": 1},
        "recommend": {"top_k": 7, "glow": True},
        "experiments": [
            {"name": "e", "arms": [{"name": "a", "share": 0.5, "tint": 1}, {"name": "b", "share": 0.5, "rerank": {}}]}
        ],
    }
    with caplog.at_level(logging.INFO):
        found = decode_stored(Config, raw, WHERE)
    assert found.recommend.top_k == 7
    assert [arm.name for arm in found.experiments[0].arms] == ["a", "b"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{WHERE}: another release wrote this config")
    assert line.endswith("left out: experiments.0.arms.0.tint, inputs.items.sparkle, moon, recommend.glow")
    assert raw["moon"] == {"phase": 1}, "what was read stays as it is"


def test_values_that_are_no_longer_allowed_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        read(train={"objective": "magic"}, recommend={"top_k": 0}, moon=1)
    message = str(caught.value)
    assert message.startswith(f"{WHERE}: another release wrote this config")
    for part in ("train.objective: must be", "'magic'", "recommend.top_k: must be ≥ 1, got 0", "Publish a night"):
        assert part in message
    assert "moon" not in message
