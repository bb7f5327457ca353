"""Weights of signals: those that made the choices are found again, and the fused score is worth its best part at least.

Shapes: B users, C candidates, S signals.
"""

import json
import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.ranking import fusion_fit
from recsys.ranking.fusion import PLAIN, Fusion, Signals
from recsys.ranking.fusion_fit import Choices, fit_fusion, fit_new, fit_short
from recsys.signals.signals import SIGNALS

NAMES = ("strong", "weak", "misleading", "constant")
WEIGHTS = (1.5, 0.5, -1.0, 0.0)


def simulate(
    seed: int,
    num_users: int,
    num_candidates: int = 12,
    weights: tuple[float, ...] = WEIGHTS,
    length: int = 50,
    visiting: bool = False,
) -> Choices:
    """What users took of their candidates, drawn from a conditional logit."""
    random = np.random.default_rng(seed)
    signals = random.normal(size=(num_users, num_candidates, len(NAMES)))
    signals[:, :, 3] = -7.25
    valid = random.random(signals.shape[:2]) < 0.9
    valid[:, -1] = True
    gumbel = random.gumbel(size=signals.shape[:2])  # the largest of logit + Gumbel noise is a draw from the softmax
    chosen = np.where(valid, signals @ np.array(weights) + gumbel, -np.inf).argmax(axis=1)
    taken = np.zeros(valid.shape, dtype=bool)
    taken[np.arange(num_users), chosen] = True
    signals[~valid] = random.normal(scale=100, size=(int((~valid).sum()), len(NAMES)))  # what is none may be anything
    return choices_of(signals.astype(np.float32), valid, taken, length, visiting)


def choices_of(
    signals: Signals,
    valid: npt.NDArray[np.bool_],
    taken: npt.NDArray[np.bool_],
    length: int = 50,
    visiting: bool = False,
) -> Choices:
    lengths = np.full(len(taken), length)
    return Choices(signals=signals, valid=valid, taken=taken, lengths=lengths, visiting=np.full(len(taken), visiting))


def joined(*some: Choices) -> Choices:
    return Choices(**{part.name: np.concatenate([getattr(one, part.name) for one in some]) for part in fields(Choices)})


def ndcg(scores: npt.NDArray[np.floating[Any]], choices: Choices) -> float:
    """NDCG@10 one user at a time, equals by column; of users who took something."""
    values = []
    for row, valid, taken in zip(scores, choices.valid, choices.taken, strict=True):
        order = sorted(np.flatnonzero(valid), key=lambda column: (-row[column], column))[:10]
        gain = sum(taken[column] / math.log2(place + 2) for place, column in enumerate(order))
        best = sum(1 / math.log2(place + 2) for place in range(min(int(taken.sum()), 10)))
        if best:
            values.append(gain / best)
    return float(np.mean(values))


def test_known_weights_are_found_again() -> None:
    fusion = fit_fusion(simulate(0, 4000), NAMES)
    assert fusion.weights["strong"] == pytest.approx(1.5, rel=0.05)
    assert fusion.weights["weak"] == pytest.approx(0.5, rel=0.1)
    assert fusion.weights["misleading"] == pytest.approx(-1.0, rel=0.05)
    assert fusion.weights["constant"] == 0
    assert fusion.users == 4000


def test_a_few_users_move_the_weights_less_than_many() -> None:
    few, many = (fit_fusion(simulate(0, number), NAMES).weights for number in (3, 1000))
    assert 0 < few["strong"] < many["strong"]
    assert many["misleading"] < few["misleading"] < 0


def test_another_unit_of_a_signal_is_another_weight() -> None:
    choices = simulate(1, 500)
    plain = fit_fusion(choices, NAMES)
    other_units = replace(choices, signals=choices.signals * np.array([100, 0.01, 1, 1], np.float32))
    scaled = fit_fusion(other_units, NAMES)
    assert scaled.weights["strong"] == pytest.approx(plain.weights["strong"] / 100, rel=0.01)
    assert scaled.weights["weak"] == pytest.approx(plain.weights["weak"] * 100, rel=0.01)


@settings(max_examples=40)
@given(st.integers(0, 9999), st.integers(1, 40), st.integers(1, 15), st.sampled_from([0.0, 1.0, -1.0]))
def test_weights_are_finite_and_no_part_is_better(seed: int, users: int, candidates: int, sign: float) -> None:
    """Also where the choices are noise, or the signals point the wrong way."""
    choices = simulate(seed, users, candidates, tuple(sign * weight for weight in WEIGHTS))
    fusion = fit_fusion(choices, NAMES)
    assert tuple(fusion.weights) == NAMES or fusion.weights == PLAIN.weights
    assert all(math.isfinite(weight) for weight in fusion.weights.values())
    if fusion.parts is None:
        assert candidates == 1, "one candidate each: nothing tells"
        return
    assert "constant" not in fusion.parts
    assert fusion.ndcg >= max(fusion.parts.values())
    weights = np.array([fusion.weights[name] for name in NAMES])
    assert fusion.ndcg == pytest.approx(ndcg(choices.signals @ weights, choices), abs=1e-9)
    for name, value in fusion.parts.items():
        assert value == pytest.approx(ndcg(choices.signals[:, :, NAMES.index(name)], choices), abs=1e-9)
    assert fit_fusion(choices, NAMES) == fusion, "the same twice"


def test_users_who_took_nothing_of_theirs_change_nothing() -> None:
    choices = simulate(2, 60)
    nothing = simulate(3, 40)
    nothing.taken[:] = False
    assert fit_fusion(joined(choices, nothing), NAMES) == fit_fusion(choices, NAMES)


def test_who_took_much_counts_as_much_as_who_took_little() -> None:
    """One user takes one item as `strong` says, the other one or five as `weak` says: `strong` weighs the same."""
    signals = np.zeros((2, 6, 2), dtype=np.float32)
    taken = np.zeros((2, 6), dtype=bool)
    signals[0, 0, 0], taken[0, 0] = 1, True
    weights = []
    for num in (1, 5):
        signals[1, :num, 1], taken[1, :num] = 1, True
        weights.append(fit_fusion(choices_of(signals, np.ones_like(taken), taken), NAMES[:2]).weights["strong"])
    assert weights[0] == pytest.approx(weights[1], rel=0.01)
    assert weights[0] > 0.1


def test_what_can_be_foreseen_weighs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users take one item by `strong`, and three of which `weak` tells only a little."""
    foreseen = simulate(31, 500, 40, (3.0, 0.0, 0.0, 0.0))
    gumbel = np.random.default_rng(32).gumbel(size=(3, *foreseen.taken.shape))
    others = np.where(foreseen.valid, foreseen.signals[:, :, 1] + gumbel, -np.inf).argmax(axis=2)
    foreseen.taken[np.arange(500), others] = True

    def share() -> float:
        weights = fit_fusion(foreseen, NAMES).weights
        return weights["strong"] / weights["weak"]

    weighed = share()
    monkeypatch.setattr(fusion_fit, "FORESEEN", 0.0)
    assert weighed > 1.5 * share() > 0


def test_the_fused_scores_are_likely() -> None:
    """No other scale of the weights makes what was taken likelier."""
    choices = simulate(33, 2000)
    weights = fit_fusion(choices, NAMES).vector(NAMES)

    def surprise(scale: float) -> float:
        scores = choices.scores(weights * np.float32(scale)).astype(np.float64)
        return float((np.log(np.exp(scores).sum(axis=1)) - scores[choices.taken]).mean())

    assert surprise(1.0) < min(surprise(0.95), surprise(1.05))


def test_only_allowed_signals_weigh() -> None:
    choices = simulate(4, 300)
    fusion = fit_fusion(choices, NAMES, ["weak", "constant"])
    assert set(fusion.parts or {}) == {"weak"}
    assert [name for name, weight in fusion.weights.items() if weight] == ["weak"]
    nothing = fit_fusion(choices, NAMES, ["constant"])
    assert (nothing.weights, nothing.users) == ({"constant": 1.0}, 300)


def test_the_usual_weights_are_of_signals_that_there_are() -> None:
    assert set(PLAIN.weights) <= set(SIGNALS)
    assert PLAIN.only(None) is PLAIN
    assert PLAIN.only(["retrieval", "text"]).weights == {"retrieval": 1.0}
    assert PLAIN.only(["text", "seen"]).weights == {"text": 1.0, "seen": 1.0}
    both = {"strong": 2.0, "weak": 3.0}
    leaning = Fusion(weights={"strong": 1.0, "weak": 1.0}, short=both, visit=both)
    kept = {"weak": 3.0}
    assert leaning.only(["weak"]) == Fusion(weights={"weak": 1.0}, short=kept, visit=kept)
    assert replace(leaning, new=both).only(["weak"]).new == kept


def of_short(seed: int, num_users: int) -> tuple[Choices, Choices]:
    """Users who choose as `WEIGHTS` say, and the more by `weak` the fewer items there are, in a visit or not."""
    short = [
        simulate(seed + length + 100 * visiting, num_users // 2, 12, weights, length, visiting)
        for length, lean in ((1, 2**-0.5), (3, 0.5), (10, 11**-0.5))
        for weights in ((1.5 - 1.5 * lean, 0.5 + lean, -1.0, 0.0),)
        for visiting in (False, True)
    ]
    return simulate(seed, num_users, length=10_000), joined(*short)


def test_what_is_added_for_short_histories_is_found_again() -> None:
    whole, short = of_short(7, 4000)
    plain = fit_fusion(whole, NAMES)
    fusion = fit_short(plain, whole, short, NAMES)
    assert fusion.weights == plain.weights
    assert fusion.short_ndcg > fusion.short_ndcg_without + 0.05
    assert fusion.short == pytest.approx({"strong": -1.5, "weak": 1, "misleading": 0, "constant": 0}, abs=0.12)
    lengths = np.array([0, 1, 3, 10_000, 10**8])
    strong, weak, *_ = fusion.of_users(NAMES, lengths, np.zeros(5, dtype=bool)).T
    assert strong == pytest.approx([0.44, 0.44, 0.75, 1.5, 1.5], abs=0.12)
    assert weak == pytest.approx([1.2, 1.2, 1, 0.5, 0.5], abs=0.12)
    assert strong[0] == strong[1], "no user without any item was fitted"
    assert strong[3] == strong[4], "nothing is added from the usual length on"
    in_visits = fusion.of_users(NAMES, lengths, np.ones(5, dtype=bool))
    assert (in_visits[3:] == fusion.vector(NAMES)).all(), "nor in a visit"
    older = replace(fusion, visit=None, temperature=0.0)
    assert (older.of_users(NAMES, lengths, np.ones(5, dtype=bool))[:, 0] == strong).all(), "as at other times"


def test_the_lists_of_short_histories_are_as_good_as_they_can_be_and_their_shares_true() -> None:
    whole, short = of_short(7, 4000)
    fusion = fit_short(fit_fusion(whole, NAMES), whole, short, NAMES)
    _, others = of_short(31, 2000)
    found = others.scores(fusion.of_users(NAMES, others.lengths, others.visiting))
    lean = 1 / np.sqrt(1 + others.lengths[:, None])
    true = others.scores(np.array(WEIGHTS) + lean * np.array([-1.5, 1.0, 0.0, 0.0]))
    assert ndcg(found, others) == pytest.approx(ndcg(true, others), abs=0.01)
    shares = np.exp(found - found.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    likely = shares > 0.5
    assert others.taken[likely].mean() == pytest.approx(shares[likely].mean(), abs=0.04)


def test_what_is_added_in_visits_is_fitted_on_visits_alone() -> None:
    """However many others there are, whose short histories tell the contrary."""
    whole = simulate(20, 1000, length=10_000)
    visits = simulate(21, 300, weights=(0.0, 3.0, 0.0, 0.0), length=3, visiting=True)
    others = simulate(22, 3000, weights=(3.0, -2.0, 0.0, 0.0), length=3)
    plain = fit_fusion(whole, NAMES)
    fusion = fit_short(plain, whole, joined(visits, others), NAMES)
    for choices in (visits, others):
        found = choices.scores(fusion.of_users(NAMES, choices.lengths, choices.visiting))
        without = choices.scores(plain.vector(NAMES))
        assert ndcg(found, choices) > ndcg(without, choices) + 0.02
    assert fit_short(plain, whole, others, NAMES).visit == {}, "nothing is known of visits, and nothing added"


def test_a_user_weighs_once_however_often_the_history_was_cut() -> None:
    whole, short = of_short(9, 20)
    fusion = fit_fusion(whole, NAMES)
    once = fit_short(fusion, whole, short, NAMES)
    assert fit_short(fusion, whole, joined(short, short, short), NAMES).short == pytest.approx(once.short, abs=0.01)


def test_three_of_four_histories_are_as_long_as_usual() -> None:
    choices = simulate(1, 400)
    fusion = fit_fusion(replace(choices, lengths=np.arange(len(choices.taken))), NAMES)
    assert fusion.usual == 99
    alike = replace(choices, lengths=np.full(len(choices.taken), 5), visiting=np.ones(len(choices.taken), dtype=bool))
    assert fit_short(fit_fusion(alike, NAMES), alike, alike, NAMES).short is None, "none is shorter than usual"


@settings(max_examples=25)
@given(st.integers(0, 9999), st.integers(1, 30), st.sampled_from([0.0, 1.0, -1.0]))
def test_whole_histories_stay_as_good_as_their_best_part(seed: int, users: int, sign: float) -> None:
    """Though those that are shorter than usual have other weights too, which were not fitted on them."""
    whole, short = of_short(seed, users)
    random = np.random.default_rng(seed)
    visiting = random.random(len(whole.taken)) < 0.5
    whole = replace(whole, lengths=random.integers(1, 60, len(whole.taken)), visiting=visiting)
    short = replace(short, signals=sign * short.signals)
    plain = fit_fusion(whole, NAMES)
    fusion = fit_short(plain, whole, short, NAMES)
    assert fusion.ndcg >= max((fusion.parts or {}).values())
    scores = (whole.signals @ fusion.of_users(NAMES, whole.lengths, visiting)[:, :, None])[:, :, 0]
    assert fusion.ndcg == pytest.approx(ndcg(scores, whole), abs=1e-6)
    assert fit_short(plain, whole, short, NAMES) == fusion, "the same twice"


def test_what_spoils_whole_histories_is_not_added() -> None:
    whole = simulate(10, 300, weights=(3.0, 0.0, 0.0, 0.0), visiting=True)
    whole = replace(whole, lengths=np.tile([1, 100, 100, 100], 75))
    short = simulate(11, 300, weights=(-9.0, 0.0, 0.0, 0.0), length=1, visiting=True)
    fusion = fit_fusion(whole, NAMES)
    assert fit_short(fusion, whole, short, NAMES) == fusion


def test_a_signal_that_is_the_same_for_all_short_histories_is_added_nothing() -> None:
    whole, short = of_short(12, 200)
    signals = short.signals.copy()
    signals[:, :, NAMES.index("weak")] = -9.21
    fusion = fit_short(fit_fusion(whole, NAMES), whole, replace(short, signals=signals), NAMES)
    assert fusion.short is not None
    assert fusion.short["weak"] == 0
    assert np.abs(fusion.of_users(NAMES, short.lengths, short.visiting)).max() < 3


def test_nothing_is_added_to_weights_that_were_not_fitted_or_without_short_histories() -> None:
    whole, short = of_short(8, 60)
    fusion = fit_fusion(whole, NAMES)
    assert fit_short(fusion, whole, replace(short, taken=np.zeros_like(short.taken)), NAMES) == fusion
    assert fit_short(PLAIN, whole, short, NAMES) == PLAIN
    allowed = fit_short(fit_fusion(whole, NAMES, NAMES[:2]), whole, short, NAMES)
    assert [name for name, weight in (allowed.short or {}).items() if weight] == ["strong", "weak"]


def test_what_is_added_among_new_items_is_found_again() -> None:
    lengths, others = np.array([50, 1]), np.zeros(2, dtype=bool)
    plain = fit_fusion(simulate(20, 4000), NAMES)
    fusion = fit_new(plain, simulate(21, 4000, weights=(0.5, 1.5, -1.0, 0.0)), NAMES)
    assert fusion.new_ndcg > fusion.new_ndcg_without + 0.05
    assert fusion.new == pytest.approx({"strong": -1, "weak": 1, "misleading": 0, "constant": 0}, abs=0.12)
    assert replace(fusion, new=None, new_ndcg=0.0, new_ndcg_without=0.0) == plain, (
        "known items have the weights they had"
    )
    assert fusion.among_new(NAMES, lengths, others)[0] == pytest.approx([-1, 1, 0, 0], abs=0.12)
    assert not plain.among_new(NAMES, lengths, others).any()
    warm = replace(fusion, temperature=2.0, usual=50)
    cold, visiting = (warm.among_new(NAMES, lengths, others | visit) for visit in (False, True))
    np.testing.assert_allclose(visiting * warm.warmth(lengths, ~others)[:, None], cold, rtol=1e-6)


def test_nothing_is_added_among_new_items_where_it_does_not_help() -> None:
    fusion = fit_fusion(simulate(22, 300), NAMES)
    strangers = simulate(23, 300)
    assert fit_new(fusion, replace(strangers, taken=np.zeros_like(strangers.taken)), NAMES) == fusion
    assert fit_new(PLAIN, strangers, NAMES) == PLAIN, "these weights were not fitted"
    alike = replace(strangers, signals=np.zeros_like(strangers.signals))
    assert fit_new(fusion, alike, NAMES) == fusion
    allowed = fit_new(fit_fusion(simulate(22, 300), NAMES, NAMES[:2]), simulate(21, 300, weights=(0, 2, 2, 0)), NAMES)
    assert [name for name, weight in (allowed.new or {}).items() if weight] == ["strong", "weak"]


def test_weights_travel_as_json() -> None:
    whole, short = of_short(5, 50)
    fusion = fit_short(fit_fusion(whole, NAMES), whole, short, NAMES)
    fusion = fit_new(fusion, simulate(21, 50, weights=(-1.0, 2.0, 0.0, 0.0)), NAMES)
    assert fusion.short
    assert fusion.new
    assert Fusion(**json.loads(json.dumps(fusion.as_dict()))) == fusion
    older = {"weights": {"weak": 2.0}, "users": 3, "ndcg": 0.5, "parts": {"weak": 0.5}}
    assert Fusion(**older).of_users(NAMES, np.array([1]), np.array([True])).tolist() == [[0, 2, 0, 0]]
    assert Fusion(weights={"weak": 2.0}).vector(NAMES).tolist() == [0, 2, 0, 0]


def test_nobody_to_learn_from_is_a_defect() -> None:
    choices = simulate(6, 3)
    with pytest.raises(AssertionError, match="no user took any candidate"):
        fit_fusion(replace(choices, taken=np.zeros_like(choices.taken)), NAMES)
    with pytest.raises(AssertionError, match="what is no candidate cannot be taken"):
        fit_fusion(replace(choices, valid=np.zeros_like(choices.valid)), NAMES)
