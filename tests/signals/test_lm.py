"""The language model as a signal: what it measures, what it proposes, and how little it is asked."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from recsys.signals.lm import LmConfig
from recsys.signals.lm_evidence import LoadedLm
from recsys.signals.signal import NONE
from tests.signals.test_every_signal import IDS, RECOMMENDABLE, language_model, users_of

#: u1 took items 1 and 4; u2 took item 7; the last user took nothing that the catalog has.
USERS = users_of([(1, 1, 30), (1, 4, 10), (2, 7, 5)])


def loaded(**changes: Any) -> LoadedLm:
    return language_model(LmConfig(model="tiny", **{"candidates": 5, "generate": 4} | changes))


def test_a_number_is_what_the_history_adds_to_the_logarithm_of_the_probability() -> None:
    lm = loaded()
    items = np.array([[2, NONE, 5]] * len(USERS))
    found = lm.read(USERS).measure(items)[:, :, 0]
    scorer, titles = lm.scorer, lm.titles
    for column, item in ((0, 2), (2, 5)):
        expected = scorer.whole_log_prob([titles[1], titles[4]], titles[item]) - scorer.whole_log_prob([], titles[item])
        np.testing.assert_allclose(found[0, column], expected, rtol=1e-4, atol=1e-4)
    assert (found[:, 1] == 0).all(), "no candidate"
    assert (found[2] == 0).all(), "no history"


def test_only_the_newest_items_are_read() -> None:
    items = np.array([[2, 5, 6]] * len(USERS))
    one = loaded(max_history=1)
    expected = one.scorer.whole_log_prob([one.titles[4]], one.titles[2]) - one.priors[2]
    np.testing.assert_allclose(one.read(USERS).measure(items)[0, 0, 0], expected, rtol=1e-4, atol=1e-4)


def test_what_it_writes_may_be_recommended_to_this_user() -> None:
    proposed = loaded(generate=12).read(USERS).propose(1)
    assert proposed is not None
    excluded = set(zip(USERS.excluded.users.tolist(), USERS.excluded.items.tolist(), strict=True))
    for row, items in enumerate(proposed[:2].tolist()):
        own = [item for item in items if item != NONE]
        assert set(own) <= set(np.flatnonzero(RECOMMENDABLE).tolist())
        assert not {(row, item) for item in own} & excluded
        assert own
    assert (proposed[2] == NONE).all(), "nothing is known of this user"
    assert loaded(generate=0).read(USERS).propose(1) is None


def test_items_without_a_title_are_not_written() -> None:
    lm = loaded(generate=12)
    blank = lm.scorer.title_tokens([""])[0]
    titles = [blank if item % 2 else tokens for item, tokens in enumerate(lm.titles)]
    proposed = LoadedLm(lm.scorer, titles, lm.priors, RECOMMENDABLE, lm.settings).read(USERS).propose(1)
    assert proposed is not None
    own = proposed[1][proposed[1] != NONE]
    assert len(own)
    assert (own % 2 == 0).all()


def test_items_with_one_title_are_proposed_together() -> None:
    lm = loaded(generate=1)
    titles = [lm.titles[0]] * len(IDS)
    same = LoadedLm(lm.scorer, titles, lm.priors, RECOMMENDABLE, lm.settings)
    proposed = same.read(USERS).propose(1)
    assert proposed is not None
    assert set(proposed[1].tolist()) == set(np.flatnonzero(RECOMMENDABLE).tolist())


def test_it_explains_only_what_it_lifts_and_asks_nothing_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = loaded()
    evidence = lm.read(USERS)
    items = np.arange(4)[None].repeat(len(USERS), axis=0)
    numbers = evidence.measure(items)[1, :, 0]
    monkeypatch.delattr(type(lm.scorer), "read")
    rows = np.ones(4, dtype=np.int64)
    found = evidence.explain(rows, items[1], np.ones((4, 1), dtype=np.float32))
    assert (found.sentence == np.where(numbers > 0, 0, NONE)).all()
    for weight in (0, -1):
        weights = np.full((4, 1), weight, dtype=np.float32)
        assert (evidence.explain(rows, items[1], weights).sentence == NONE).all(), "the sentence would not be true"


@pytest.mark.parametrize("prompt", ["no history", "{history} and {history}", "{history}\n- "])
def test_a_prompt_names_the_history_once_and_ends_with_text(prompt: str) -> None:
    with pytest.raises(ValidationError, match=r"must hold \{history\} once|must not end with white space"):
        LmConfig(model="tiny", prompt=prompt)
