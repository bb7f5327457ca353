"""The trials of a tuning, as they are drawn."""

from typing import Any

import pytest

from recsys.errors import ConfigError
from recsys.settings import decode_config
from recsys.training.tuning import Between, TuneConfig, draw_trials, with_overrides

INPUTS = {"events": {"path": "x"}, "items": {"path": "y", "text": "{title}"}}


def test_the_first_trial_is_the_config_as_it_is_and_none_comes_twice() -> None:
    trials = draw_trials(TuneConfig().space, 8, seed=0)
    assert trials[0] == {}
    assert len(trials) == 8
    assert all(trial not in trials[:place] for place, trial in enumerate(trials))
    assert all(3e-4 <= trial["train.learning_rate"] <= 3e-3 for trial in trials[1:])  # type: ignore[operator]


def test_the_same_seed_draws_the_same_trials() -> None:
    space = TuneConfig().space
    assert draw_trials(space, 5, seed=3) == draw_trials(space, 5, seed=3) != draw_trials(space, 5, seed=4)
    assert draw_trials(space, 3, seed=3) == draw_trials(space, 5, seed=3)[:3]


def test_a_small_space_has_few_trials() -> None:
    trials = draw_trials({"ranker.layers": [1, 2]}, 10, seed=0)
    assert sorted(trials, key=str) == [{"ranker.layers": 1}, {"ranker.layers": 2}, {}]
    assert draw_trials({}, 10, seed=0) == [{}]


def test_a_logarithmic_range_is_drawn_by_ratio() -> None:
    space = {"train.learning_rate": Between(low=1e-4, high=1.0, log=True)}
    drawn = [trial["train.learning_rate"] for trial in draw_trials(space, 400, seed=0)[1:]]
    assert 0.4 < sum(value < 1e-2 for value in drawn) / len(drawn) < 0.6  # type: ignore[operator]


@pytest.mark.parametrize(
    ("tune", "fault"),
    [
        ({"trials": 0}, "tune.trials: must be ≥ 1, got 0"),
        ({"space": {"histories.max_length": [1]}}, "histories.max_length cannot be tried"),
        ({"space": {"train.validation_users": [1]}}, "train.validation_users cannot be tried"),
        ({"space": {"train": [1]}}, "train cannot be tried"),
        ({"space": {"train.epochs": []}}, "tune.space.train.epochs"),
        ({"space": {"train.warmup": {"low": 1.0, "high": 0.0}}}, "must be below"),
        ({"space": {"train.warmup": {"low": 0.0, "high": 1.0, "log": True}}}, "above 0 with log"),
    ],
)
def test_what_cannot_be_tried_is_refused(tune: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault.replace(".", r"\.")):
        decode_config({"inputs": INPUTS, "tune": tune})


def test_overrides_leave_the_rest() -> None:
    settings = {"seed": 1, "train": {"epochs": 3, "warmup": 0.1}, "ranker": None}
    changed = with_overrides(settings, {"train.epochs": 5, "ranker.layers": 1})
    assert changed == {"seed": 1, "train": {"epochs": 5, "warmup": 0.1}, "ranker": {"layers": 1}}
    assert settings["train"] == {"epochs": 3, "warmup": 0.1}


def test_tuning_does_not_change_the_run_of_a_night() -> None:
    assert (
        decode_config({"inputs": INPUTS, "tune": {"trials": 3}}).digest() == decode_config({"inputs": INPUTS}).digest()
    )
