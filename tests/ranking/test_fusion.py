"""The weights that made the choices are found again, and the fused score is at least as good as its best number.

Shapes: B users, C candidates, S numbers.
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

from recsys.errors import ConfigError
from recsys.ranking import fusion_fit
from recsys.ranking.choices import Choices
from recsys.ranking.fusion import Fusion, Signals, default_fusion
from recsys.ranking.fusion_fit import CLEAR_ERRORS, fit_short, fit_weights
from recsys.ranking.fusion_objective import weighted_sums
from recsys.signals.registry import SIGNALS, chosen_columns, columns_of

NAMES = ("strong", "weak", "misleading", "constant")
WEIGHTS = (1.5, 0.5, -1.0, 0.0)
DEFAULT = default_fusion(SIGNALS)


def fitted(choices: Choices, allowed: tuple[str, ...] | list[str] | None = None) -> Fusion:
    return fit_weights(choices, NAMES, DEFAULT, allowed)


def simulate(
    seed: int,
    num_users: int,
    num_candidates: int = 12,
    weights: tuple[float, ...] = WEIGHTS,
    length: int = 50,
    in_session: bool = False,
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
    return choices_of(signals.astype(np.float32), valid, taken, length, in_session)


def choices_of(
    signals: Signals,
    valid: npt.NDArray[np.bool_],
    taken: npt.NDArray[np.bool_],
    length: int = 50,
    in_session: bool = False,
) -> Choices:
    lengths = np.full(len(taken), length)
    return Choices(
        numbers=signals, valid=valid, taken=taken, lengths=lengths, in_session=np.full(len(taken), in_session)
    )


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
    fusion = fitted(simulate(0, 4000))
    assert fusion.weights["strong"] == pytest.approx(1.5, rel=0.05)
    assert fusion.weights["weak"] == pytest.approx(0.5, rel=0.1)
    assert fusion.weights["misleading"] == pytest.approx(-1.0, rel=0.05)
    assert fusion.weights["constant"] == 0
    assert fusion.users == 4000


def test_a_few_users_move_the_weights_less_than_many() -> None:
    few, many = (fitted(simulate(0, number)).weights for number in (3, 1000))
    assert 0 < few["strong"] < many["strong"]
    assert many["misleading"] < few["misleading"] < 0


def test_another_unit_of_a_signal_is_another_weight() -> None:
    choices = simulate(1, 500)
    plain = fitted(choices)
    other_units = replace(choices, numbers=choices.numbers * np.array([100, 0.01, 1, 1], np.float32))
    scaled = fitted(other_units)
    assert scaled.weights["strong"] == pytest.approx(plain.weights["strong"] / 100, rel=0.01)
    assert scaled.weights["weak"] == pytest.approx(plain.weights["weak"] * 100, rel=0.01)


@pytest.mark.parametrize("unit", [1e3, 1e7, 1e12])
def test_a_signal_in_a_small_unit_has_a_small_weight_and_not_none(unit: float) -> None:
    """Ages in microseconds differ by billions of times what logarithms do."""
    choices = simulate(3, 400)
    plain = fitted(choices).weights
    numbers = choices.numbers.copy()
    numbers[:, :, 0] *= np.float32(unit)
    scaled = fitted(replace(choices, numbers=numbers)).weights
    assert scaled[NAMES[0]] * unit == pytest.approx(plain[NAMES[0]], rel=1e-2)
    for name in NAMES[1:]:
        assert scaled[name] == pytest.approx(plain[name], rel=1e-2, abs=1e-3)


@settings(max_examples=40)
@given(st.integers(0, 9999), st.integers(1, 40), st.integers(1, 15), st.sampled_from([0.0, 1.0, -1.0]))
def test_weights_are_finite_and_no_part_is_clearly_better(seed: int, users: int, candidates: int, sign: float) -> None:
    """Also where the choices are noise, or the signals point the wrong way."""
    choices = simulate(seed, users, candidates, tuple(sign * weight for weight in WEIGHTS))
    fusion = fitted(choices)
    assert tuple(fusion.weights) == NAMES or fusion.weights == DEFAULT.weights
    assert all(math.isfinite(weight) for weight in fusion.weights.values())
    if fusion.parts is None:
        assert candidates == 1, "one candidate each: nothing tells"
        return
    assert "constant" not in fusion.parts
    weights = np.array([fusion.weights[name] for name in NAMES])
    for name in fusion.parts:
        gain = choices.ndcg(np.eye(len(NAMES))[NAMES.index(name)]) - choices.ndcg(weights)
        noise = CLEAR_ERRORS * gain.std() / math.sqrt(len(gain))
        assert gain.mean() <= noise + 1e-9 or fusion.ndcg >= max(fusion.parts.values())
    assert fusion.ndcg == pytest.approx(ndcg(choices.numbers @ weights, choices), abs=1e-9)
    for name, value in fusion.parts.items():
        assert value == pytest.approx(ndcg(choices.numbers[:, :, NAMES.index(name)], choices), abs=1e-9)
    assert fitted(choices) == fusion, "the same twice"


def test_users_who_took_nothing_of_theirs_change_nothing() -> None:
    choices = simulate(2, 60)
    nothing = simulate(3, 40)
    nothing.taken[:] = False
    assert fitted(joined(choices, nothing)) == fitted(choices)


def test_each_user_counts_the_same() -> None:
    """One user takes one item as `strong` says, the other one or five as `weak` says: `strong` weighs the same."""
    signals = np.zeros((2, 6, 2), dtype=np.float32)
    taken = np.zeros((2, 6), dtype=bool)
    signals[0, 0, 0], taken[0, 0] = 1, True
    weights = []
    for num in (1, 5):
        signals[1, :num, 1], taken[1, :num] = 1, True
        weights.append(
            fit_weights(choices_of(signals, np.ones_like(taken), taken), NAMES[:2], DEFAULT).weights["strong"]
        )
    assert weights[0] == pytest.approx(weights[1], rel=0.01)
    assert weights[0] > 0.1


def test_foreseeable_choices_count_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users take one item by `strong`, and three of which `weak` tells only a little."""
    foreseen = simulate(31, 500, 40, (3.0, 0.0, 0.0, 0.0))
    gumbel = np.random.default_rng(32).gumbel(size=(3, *foreseen.taken.shape))
    others = np.where(foreseen.valid, foreseen.numbers[:, :, 1] + gumbel, -np.inf).argmax(axis=2)
    foreseen.taken[np.arange(500), others] = True

    def share() -> float:
        weights = fitted(foreseen).weights
        return weights["strong"] / weights["weak"]

    weighed = share()
    monkeypatch.setattr(fusion_fit, "POWER", 0.0)
    assert weighed > 1.5 * share() > 0


def test_the_fused_scores_are_likely() -> None:
    """No other scale of the weights makes what was taken likelier."""
    choices = simulate(33, 2000)
    weights = fitted(choices).vector(NAMES)

    def loss(scale: float) -> float:
        scores = choices.scores(weights * np.float32(scale)).astype(np.float64)
        return float((np.log(np.exp(scores).sum(axis=1)) - scores[choices.taken]).mean())

    assert loss(1.0) < min(loss(0.95), loss(1.05))


def test_only_allowed_signals_weigh() -> None:
    choices = simulate(4, 300)
    fusion = fitted(choices, ["weak", "constant"])
    assert set(fusion.parts or {}) == {"weak"}
    assert [name for name, weight in fusion.weights.items() if weight] == ["weak"]
    nothing = fitted(choices, ["constant"])
    assert (nothing.weights, nothing.users) == ({"constant": 1.0}, 300)


def test_the_default_weights_are_those_of_the_signals() -> None:
    assert set(DEFAULT.weights) <= set(columns_of(SIGNALS))
    assert DEFAULT.weights["retrieval"] == 1.0
    assert DEFAULT.only(None) is DEFAULT
    assert DEFAULT.only(["retrieval", "text"]).weights == {"retrieval": 1.0}
    assert DEFAULT.only(["text", "seen"]).weights == {"text": 1.0, "seen": 1.0}
    both = {"strong": 2.0, "weak": 3.0}
    leaning = Fusion(weights={"strong": 1.0, "weak": 1.0}, short=both, session=both)
    kept = {"weak": 3.0}
    assert leaning.only(["weak"]) == Fusion(weights={"weak": 1.0}, short=kept, session=kept)


def of_short(seed: int, num_users: int) -> tuple[Choices, Choices]:
    """Users who choose as `WEIGHTS` say, and the more by `weak` the fewer items there are, in a session or not."""
    short = [
        simulate(seed + length + 100 * in_session, num_users // 2, 12, weights, length, in_session)
        for length, lean in ((1, 2**-0.5), (3, 0.5), (10, 11**-0.5))
        for weights in ((1.5 - 1.5 * lean, 0.5 + lean, -1.0, 0.0),)
        for in_session in (False, True)
    ]
    return simulate(seed, num_users, length=10_000), joined(*short)


def test_what_is_added_for_short_histories_is_found_again() -> None:
    whole, short = of_short(7, 4000)
    plain = fitted(whole)
    fusion = fit_short(plain, whole, short, NAMES)
    assert fusion.weights == plain.weights
    assert fusion.short_ndcg > fusion.short_ndcg_without + 0.05
    assert fusion.short == pytest.approx({"strong": -1.5, "weak": 1, "misleading": 0, "constant": 0}, abs=0.12)
    lengths = np.array([0, 1, 3, 10_000, 10**8])
    strong, weak, *_ = fusion.of_users(NAMES, lengths, np.zeros(5, dtype=bool)).T
    assert strong == pytest.approx([0.44, 0.44, 0.75, 1.5, 1.5], abs=0.12)
    assert weak == pytest.approx([1.2, 1.2, 1, 0.5, 0.5], abs=0.12)
    assert strong[0] == strong[1], "no user without any item was fitted"
    assert strong[3] == strong[4], "nothing is added from the typical length on"
    in_sessions = fusion.of_users(NAMES, lengths, np.ones(5, dtype=bool))
    assert (in_sessions[3:] == fusion.vector(NAMES)).all(), "nor in a session"
    older = replace(fusion, session=None, temperature=0.0)
    assert (older.of_users(NAMES, lengths, np.ones(5, dtype=bool))[:, 0] == strong).all(), "as at other times"


def test_the_lists_of_short_histories_are_as_good_as_they_can_be_and_their_shares_true() -> None:
    whole, short = of_short(7, 4000)
    fusion = fit_short(fitted(whole), whole, short, NAMES)
    _, others = of_short(31, 2000)
    found = others.scores(fusion.of_users(NAMES, others.lengths, others.in_session))
    lean = 1 / np.sqrt(1 + others.lengths[:, None])
    true = others.scores(np.array(WEIGHTS) + lean * np.array([-1.5, 1.0, 0.0, 0.0]))
    assert ndcg(found, others) == pytest.approx(ndcg(true, others), abs=0.01)
    shares = np.exp(found - found.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    likely = shares > 0.5
    assert others.taken[likely].mean() == pytest.approx(shares[likely].mean(), abs=0.04)


def test_what_is_added_in_sessions_is_fitted_on_sessions_alone() -> None:
    """However many others there are, whose short histories tell the contrary."""
    whole = simulate(20, 1000, length=10_000)
    sessions = simulate(21, 300, weights=(0.0, 3.0, 0.0, 0.0), length=3, in_session=True)
    others = simulate(22, 3000, weights=(3.0, -2.0, 0.0, 0.0), length=3)
    plain = fitted(whole)
    fusion = fit_short(plain, whole, joined(sessions, others), NAMES)
    for choices in (sessions, others):
        found = choices.scores(fusion.of_users(NAMES, choices.lengths, choices.in_session))
        without = choices.scores(plain.vector(NAMES))
        assert ndcg(found, choices) > ndcg(without, choices) + 0.02
    assert fit_short(plain, whole, others, NAMES).session == {}, "nothing is known of sessions, and nothing is added"


def test_a_user_weighs_once_however_often_the_history_was_cut() -> None:
    whole, short = of_short(9, 20)
    fusion = fitted(whole)
    once = fit_short(fusion, whole, short, NAMES)
    assert fit_short(fusion, whole, joined(short, short, short), NAMES).short == pytest.approx(once.short, abs=0.01)


def test_a_number_that_is_better_by_chance_does_not_take_all_weight() -> None:
    """Of many numbers the best one on few users is often above the weights that hold for all users."""
    by_chance = 0
    for seed in range(40):
        choices = simulate(seed, 25, weights=(1.0, 0.8, 0.0, 0.0))
        fusion = fitted(choices)
        assert fusion.parts is not None
        if fusion.ndcg < max(fusion.parts.values()):
            by_chance += 1
            assert np.count_nonzero(list(fusion.weights.values())) > 1
    assert by_chance, "no seed shows it"


def test_three_of_four_histories_have_the_typical_length() -> None:
    choices = simulate(1, 400)
    fusion = fitted(replace(choices, lengths=np.arange(len(choices.taken))))
    assert fusion.typical_length == 99
    same = replace(choices, lengths=np.full(len(choices.taken), 5), in_session=np.ones(len(choices.taken), dtype=bool))
    assert fit_short(fitted(same), same, same, NAMES).short is None, "no history is shorter"


@settings(max_examples=25)
@given(st.integers(0, 9999), st.integers(1, 30), st.sampled_from([0.0, 1.0, -1.0]))
def test_whole_histories_stay_as_good_as_their_best_part(seed: int, users: int, sign: float) -> None:
    """Though those that are shorter than usual have other weights too, which were not fitted on them."""
    whole, short = of_short(seed, users)
    random = np.random.default_rng(seed)
    in_session = random.random(len(whole.taken)) < 0.5
    whole = replace(whole, lengths=random.integers(1, 60, len(whole.taken)), in_session=in_session)
    short = replace(short, numbers=sign * short.numbers)
    plain = fitted(whole)
    fusion = fit_short(plain, whole, short, NAMES)
    assert fusion.ndcg >= min(plain.ndcg, max((fusion.parts or {}).values())) - 1e-9
    scores = (whole.numbers @ fusion.of_users(NAMES, whole.lengths, in_session)[:, :, None])[:, :, 0]
    assert fusion.ndcg == pytest.approx(ndcg(scores, whole), abs=1e-6)
    assert fit_short(plain, whole, short, NAMES) == fusion, "the same twice"


def test_what_harms_whole_histories_is_not_added() -> None:
    whole = simulate(10, 300, weights=(3.0, 0.0, 0.0, 0.0), in_session=True)
    whole = replace(whole, lengths=np.tile([1, 100, 100, 100], 75))
    short = simulate(11, 300, weights=(-9.0, 0.0, 0.0, 0.0), length=1, in_session=True)
    fusion = fitted(whole)
    assert fit_short(fusion, whole, short, NAMES) == fusion


def test_a_signal_that_is_the_same_for_all_short_histories_is_added_nothing() -> None:
    whole, short = of_short(12, 200)
    signals = short.numbers.copy()
    signals[:, :, NAMES.index("weak")] = -9.21
    fusion = fit_short(fitted(whole), whole, replace(short, numbers=signals), NAMES)
    assert fusion.short is not None
    assert fusion.short["weak"] == 0
    assert np.abs(fusion.of_users(NAMES, short.lengths, short.in_session)).max() < 3


def test_nothing_is_added_to_weights_that_were_not_fitted_or_without_short_histories() -> None:
    whole, short = of_short(8, 60)
    fusion = fitted(whole)
    assert fit_short(fusion, whole, replace(short, taken=np.zeros_like(short.taken)), NAMES) == fusion
    assert fit_short(DEFAULT, whole, short, NAMES) == DEFAULT
    allowed = fit_short(fitted(whole, NAMES[:2]), whole, short, NAMES)
    assert [name for name, weight in (allowed.short or {}).items() if weight] == ["strong", "weak"]


def test_weights_travel_as_json() -> None:
    whole, short = of_short(5, 50)
    fusion = fit_short(fitted(whole), whole, short, NAMES)
    assert fusion.short
    assert Fusion(**json.loads(json.dumps(fusion.as_dict()))) == fusion
    older = {"weights": {"weak": 2.0}, "users": 3, "ndcg": 0.5, "parts": {"weak": 0.5}}
    assert Fusion(**older).of_users(NAMES, np.array([1]), np.array([True])).tolist() == [[0, 2, 0, 0]]
    assert Fusion(weights={"weak": 2.0}).vector(NAMES).tolist() == [0, 2, 0, 0]


def test_a_fit_without_users_is_a_defect() -> None:
    choices = simulate(6, 3)
    with pytest.raises(AssertionError, match="no user took any candidate"):
        fitted(replace(choices, taken=np.zeros_like(choices.taken)))
    with pytest.raises(AssertionError, match="what is no candidate cannot be taken"):
        fitted(replace(choices, valid=np.zeros_like(choices.valid)))


def test_the_config_may_name_signals_or_their_numbers() -> None:
    assert chosen_columns(None) is None
    assert chosen_columns(["ranker", "seen"]) == {"retrieval", "candidate_pass", "seen"}
    assert chosen_columns(["popularity"]) == set(SIGNALS["popularity"].columns) > {"popularity", "popularity_month"}
    assert chosen_columns(SIGNALS.names) == set(columns_of(SIGNALS)), "all signals by name are all numbers"
    with pytest.raises(ConfigError, match=r"recommend.signals: 'linear' is neither a signal \(ranker, "):
        chosen_columns(["linear"])


def test_weighted_sums_are_those_of_einsum() -> None:
    random = np.random.default_rng(0)
    factors, numbers = random.normal(size=(40, 30)), random.normal(size=(40, 30, 5)).astype(np.float32)
    expected = np.einsum("bc,bcs->s", factors, numbers, dtype=np.float64)
    np.testing.assert_allclose(weighted_sums(factors, numbers), expected, rtol=1e-12)


def test_a_number_alone_ranks_as_a_weight_of_one_does() -> None:
    choices = simulate(5, 60)
    expected = [choices.ndcg(row) for row in np.eye(len(NAMES))]
    np.testing.assert_array_equal(choices.ndcg_alone(), expected)
