"""The plan of a training: enough steps, no more validation than they are worth, a rate that ends at nothing."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LambdaLR

from recsys.training.config import TrainConfig
from recsys.training.phases import RATES, Plan, num_replayed, plan_new_events, plan_refit, plan_training


@st.composite
def trainings(draw: st.DrawFn) -> TrainConfig:
    """Settings whose batch divides among workers and accumulation steps, as `Config` demands."""
    workers, accumulation, micro = (draw(st.integers(1, 6)) for _ in range(3))
    return TrainConfig(
        epochs=draw(st.integers(1, 12)),
        min_steps=draw(st.sampled_from([0, 1, 20, 57, 400])),
        listwise_epochs=draw(st.integers(0, 3)),
        recent_epochs=draw(st.integers(0, 3)),
        batch_size=workers * accumulation * micro,
        num_workers=workers,
        accumulation_steps=accumulation,
        warmup=draw(st.floats(0, 1)),
    )


def steps_taken(train: TrainConfig, passes: list[int]) -> int:
    """Counted as an engine counts: micro-batches go on from pass to pass, and each complete accumulation is a step.

    Args:
        train: Settings.
        passes: Windows of each pass, of all workers.
    """
    micro_steps = steps = 0
    for num_windows in passes:
        share = num_windows // train.num_workers
        for _start in range(0, max(share, 1), train.micro_batch_size):
            micro_steps += 1
            steps += micro_steps % train.accumulation_steps == 0
    return steps


def passes_of(plan: Plan, num_windows: dict[str, int]) -> list[int]:
    return [num_windows[phase.name] for phase in plan.phases for _ in range(phase.epochs * phase.passes)]


@given(trainings(), st.integers(1, 200), st.integers(0, 200))
def test_the_steps_are_those_of_an_engine(train: TrainConfig, num_windows: int, num_recent: int) -> None:
    num_recent = min(num_recent, num_windows)
    plan = plan_training(train, num_windows, num_recent)
    sizes = {"softmax": num_windows, "recent": num_recent, "listwise": num_windows}
    passes = passes_of(plan, sizes)
    until = 0
    for phase in plan.phases:
        until += phase.epochs * phase.passes
        taken = steps_taken(train, passes[:until])
        assert phase.first_step + phase.steps == max(taken, 1)
    assert plan.phases[0].name == "softmax"
    assert plan.warmup_steps <= plan.phases[0].steps


@given(trainings(), st.integers(1, 200), st.integers(0, 200))
def test_phases_are_there_where_they_are_asked_for(train: TrainConfig, num_windows: int, num_recent: int) -> None:
    plan = plan_training(train, num_windows, num_recent)
    names = [phase.name for phase in plan.phases]
    assert ("recent" in names) == (num_recent >= train.num_workers and train.recent_epochs > 0)
    assert ("listwise" in names) == (train.listwise_epochs > 0)
    assert plan.epochs == sum(phase.epochs for phase in plan.phases)
    assert [phase.name for phase in plan_refit(train, num_windows).phases] == ["refit"]


@given(trainings(), st.integers(1, 5000))
def test_small_data_are_passed_over_more_often_and_validated_no_more(train: TrainConfig, num_windows: int) -> None:
    phase = plan_training(train, num_windows, 0).phase("softmax")
    per_pass = phase.steps / (phase.epochs * phase.passes)
    assert phase.epochs * phase.passes >= train.epochs
    assert phase.steps >= train.min_steps - train.accumulation_steps
    assert (phase.epochs * phase.passes - phase.passes) * per_pass < max(train.min_steps, train.epochs * per_pass) + 1
    assert phase.passes == 1 or phase.epochs <= max(20, math.ceil(train.epochs / phase.passes))


def test_a_large_set_keeps_its_epochs_and_a_small_one_gets_its_steps() -> None:
    train = TrainConfig(epochs=10, batch_size=256, min_steps=1000, listwise_epochs=1, recent_epochs=4)
    large, small = plan_training(train, 1_000_000, 100_000), plan_training(train, 2_400, 256)
    softmax, recent = large.phase("softmax"), large.phase("recent")
    assert (softmax.passes, softmax.epochs, softmax.steps) == (1, 10, 39_070)
    assert (recent.passes, recent.epochs, recent.first_step, recent.steps) == (1, 4, 39_070, 1564)
    softmax, recent, listwise = small.phases
    assert (softmax.passes, softmax.epochs, softmax.steps) == (5, 20, 1000)
    assert (recent.passes, recent.epochs, recent.steps) == (63, 4, 252)
    assert (listwise.first_step, listwise.steps) == (1252, 50)
    assert plan_refit(train, 256).phases[0].steps == recent.steps
    new, again = plan_new_events(train, 256).phases
    assert (new.name, new.epochs, new.steps) == ("new_events", 4, recent.steps)
    assert (again.name, again.first_step) == ("listwise", new.steps)


def test_few_new_windows_are_filled_up_with_older_ones() -> None:
    train = TrainConfig(replay=0.5, min_steps=1000, batch_size=100, recent_epochs=4)  # 250 steps in 4 epochs
    assert [num_replayed(train, num) for num in (0, 1, 250, 6000, 10_000)] == [0, 6249, 6000, 3000, 5000]
    assert num_replayed(train, 250, share=0.1) == 375
    assert plan_new_events(train, 250 + num_replayed(train, 250)).phases[0].passes == 1


@pytest.mark.parametrize(("num_windows", "warmup"), [(1000, 0.05), (1000, 0.0), (1000, 1.0), (30, 0.5), (1, 0.05)])
def test_the_rate_rises_and_falls_in_every_phase(num_windows: int, warmup: float) -> None:
    train = TrainConfig(learning_rate=0.1, warmup=warmup, batch_size=10, min_steps=0, listwise_epochs=2)
    plan = plan_training(train, num_windows, num_windows)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=train.learning_rate)
    schedule = LambdaLR(optimizer, plan.rate)
    rates = []
    total = sum(phase.steps for phase in plan.phases)
    for _ in range(total + 5):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    first = rates[: plan.phases[0].steps]
    peak = first.index(max(first))
    assert max(first) == pytest.approx(0.1)
    assert first[: peak + 1] == sorted(first[: peak + 1])
    assert first[peak:] == sorted(first[peak:], reverse=True)
    assert peak == pytest.approx(warmup * len(first), abs=1)
    assert first[0] > 0
    for phase in plan.phases[1:]:
        own = rates[phase.first_step : phase.first_step + phase.steps]
        assert own[0] == pytest.approx(0.1 * RATES[phase.name])
        assert own == sorted(own, reverse=True)
    assert rates[total] == pytest.approx(0)


@given(trainings(), st.integers(1, 500))
def test_a_refit_begins_below_the_peak_and_ends_at_nothing(train: TrainConfig, num_recent: int) -> None:
    plan = plan_refit(train, num_recent)
    for phase in plan.phases:
        assert plan.rate(0) == RATES["refit"]
        assert plan.rate(phase.steps) == pytest.approx(0)
