"""Progress: which phase is next, also after a restart, and which epoch counts as the best."""

import json
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from recsys.training.config import TrainConfig
from recsys.training.phases import Plan, plan_new_events, plan_training
from recsys.training.progress import (
    CANDIDATE_PASS,
    EPOCH,
    RECENT_PATIENCE,
    RETRIEVAL,
    Progress,
    candidate_pass_is_better,
    recent_helped,
    score,
)


def plan(epochs: int, recent_epochs: int, listwise_epochs: int) -> Plan:
    train = TrainConfig(epochs=epochs, recent_epochs=recent_epochs, listwise_epochs=listwise_epochs, min_steps=0)
    return plan_training(train, 1000, 500)


def run(progress: Progress, todo: Plan, patience: int, scores: list[float]) -> list[str]:
    """Phases of the epochs until the end; each epoch takes the next score."""
    phases = []
    while phase := progress.next_phase(todo, patience):
        value = scores[len(progress.history) % len(scores)]
        progress.history.append({RETRIEVAL: value} | ({CANDIDATE_PASS: value} if phase == "listwise" else {}))
        progress.phases.append(phase)
        phases.append(phase)
    return phases


scores = st.lists(st.floats(0, 1), min_size=1, max_size=12)
epoch_counts = st.tuples(st.integers(1, 6), st.integers(0, 3), st.integers(0, 3))


@given(epoch_counts, st.integers(1, 4), scores)
def test_softmax_comes_first_and_only_the_last_phase_surely_comes_whole(
    epochs: tuple[int, int, int], patience: int, values: list[float]
) -> None:
    phases = run(Progress(), plan(*epochs), patience, values)
    num_softmax, num_recent = phases.count("softmax"), phases.count("recent")
    assert phases == ["softmax"] * num_softmax + ["recent"] * num_recent + ["listwise"] * epochs[2]
    assert min(epochs[0], patience + 1) <= num_softmax <= epochs[0]
    assert min(epochs[1], RECENT_PATIENCE) <= num_recent <= epochs[1]


def test_the_recent_phase_ends_after_two_epochs_of_its_own_without_gain() -> None:
    todo = plan(2, 4, 0)
    for values, num_recent in (
        ([0.3, 0.2, 0.2, 0.2, 0.4, 0.4], 2),  # the epoch before it was no gain either
        ([0.2, 0.3, 0.2, 0.4, 0.3, 0.3], 4),
        ([0.2, 0.3, 0.4, 0.3, 0.4, 0.5], 3),
        ([0.2, 0.3, 0.4, 0.5, 0.6, 0.7], 4),
    ):
        assert run(Progress(), todo, 3, values) == ["softmax"] * 2 + ["recent"] * num_recent


def test_new_events_end_at_the_first_epoch_that_is_no_better() -> None:
    todo = plan_new_events(TrainConfig(recent_epochs=4, min_steps=0), 500)
    assert run(Progress(), todo, 3, [0.2, 0.3, 0.1, 0.4]) == ["new_events"] * 3
    assert run(Progress(), todo, 3, [0.1, 0.2, 0.3, 0.4]) == ["new_events"] * 4


@given(epoch_counts, st.integers(1, 4), scores, st.integers(0, 10))
def test_a_restart_changes_nothing(epochs: tuple[int, int, int], patience: int, values: list[float], cut: int) -> None:
    whole, todo = Progress(), plan(*epochs)
    phases = run(whole, todo, patience, values)
    before = Progress(history=whole.history[:cut], phases=whole.phases[:cut])
    again = Progress(**json.loads(json.dumps(asdict(before))))
    assert run(again, todo, patience, values) == phases[cut:]
    assert again == whole


def test_a_phase_begins_once_and_the_first_from_nothing() -> None:
    progress = Progress()
    assert not progress.begins("softmax")
    progress.phases.append("softmax")
    assert progress.begins("recent")
    progress.phases.append("recent")
    assert not progress.begins("recent")
    assert progress.begins("listwise")


def test_patience_is_counted_from_the_best_epoch() -> None:
    todo = plan(10, 0, 0)
    progress = Progress()
    assert progress.epochs_without_gain == 0
    assert len(run(progress, todo, 2, [0.1, 0.3, 0.2, 0.3, 0.5])) == 4  # an equal is no gain
    assert progress.epochs_without_gain == 2


def test_an_epoch_is_worth_the_better_of_its_two_rankings() -> None:
    assert score({RETRIEVAL: 0.2}) == score({RETRIEVAL: 0.2, CANDIDATE_PASS: 0.1}) == 0.2
    assert score({RETRIEVAL: 0.2, CANDIDATE_PASS: 0.3}) == 0.3
    better = [
        candidate_pass_is_better({RETRIEVAL: 0.2} | other)
        for other in ({}, {CANDIDATE_PASS: 0.2}, {CANDIDATE_PASS: 0.21})
    ]
    assert better == [False, False, True]


def test_recent_targets_helped_where_retrieval_rose_above_all_before() -> None:
    history = [{RETRIEVAL: 0.1}, {RETRIEVAL: 0.3}, {RETRIEVAL: 0.2}, {RETRIEVAL: 0.5, CANDIDATE_PASS: 0.6}]
    assert not recent_helped(history, ["softmax", "softmax", "recent", "listwise"])
    assert recent_helped(history, ["softmax", "recent", "recent", "listwise"])
    assert not recent_helped(history, ["softmax", "softmax", "listwise", "listwise"])
    assert not recent_helped(history, ["new_events", "new_events", "new_events", "listwise"])


def test_where_nobody_is_held_out_all_epochs_are_trained_and_the_last_counts() -> None:
    progress, todo = Progress(), plan(6, 0, 0)
    while phase := progress.next_phase(todo, patience=1):
        progress.history.append({EPOCH: len(progress.history) + 1.0})
        progress.phases.append(phase)
    assert progress.phases == ["softmax"] * 6
    assert max(progress.history, key=score) == {EPOCH: 6.0}
    assert not recent_helped(progress.history, progress.phases)
    assert not candidate_pass_is_better(progress.history[-1])
