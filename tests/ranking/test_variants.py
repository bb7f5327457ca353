"""Users in experiments are ranked by the settings of their variant, and by nothing else."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.data.assignment import arm_in, assign_arms
from recsys.errors import ConfigError
from recsys.ranking.constraints import RequestConstraints
from recsys.ranking.experiment_config import variants_of
from recsys.ranking.lists import recommend_batch
from recsys.ranking.variants import Variants, recommend_variants
from recsys.settings import Config, decode_config
from tests.ranking.test_lists import IDS, as_histories, config, make_snapshot

TAIL = {
    "name": "tail",
    "arms": [{"name": "off", "share": 0.4}, {"name": "on", "share": 0.4, "rerank": {"long_tail_boost": 3.0}}],
}
FEW = {
    "name": "few",
    "arms": [{"name": "off", "share": 0.5}, {"name": "on", "share": 0.5, "recommend": {"candidates": 4}}],
}
HISTORIES = as_histories([([IDS[user % 12]], [IDS[user % 12]]) for user in range(60)])


def settings(*experiments: dict[str, Any], **sections: Any) -> Config:
    inputs = {"events": {"path": "events"}, "items": {"path": "items.parquet", "text": "{title}"}}
    lists = {"recommend": {"top_k": 4, "candidates": 12}}
    return decode_config({"inputs": inputs, **lists, **sections, "experiments": list(experiments)})


def make_variants(*experiments: dict[str, Any]) -> Variants:
    given = settings(*experiments)
    found = variants_of(given.experiments, given.recommend, given.rerank)
    return Variants(
        experiments=given.experiments,
        snapshots={
            name: make_snapshot(long_tail_boost=one.rerank.long_tail_boost, cold_item_slots=0.0)
            for name, one in found.items()
        },
        candidates={name: one.recommend.candidates for name, one in found.items()},
    )


def test_without_experiments_the_lists_are_those_of_recommend_batch() -> None:
    variants = make_variants()
    plain = recommend_batch(variants.default, HISTORIES, config(4, 12))
    assert recommend_variants(variants, HISTORIES, config(4, 12)).lists == plain.lists
    assert set(plain.lists["variant"].to_pylist()) == {"default"}


def test_each_user_has_the_list_of_the_own_variant_in_the_order_of_the_users() -> None:
    variants = make_variants(TAIL, FEW)
    whole = recommend_variants(variants, HISTORIES, config(4, 12))
    names = variants.names_of(HISTORIES["user_id"])
    assert len(set(names)) == 6
    assert "tail/on+few/off" in names
    assert "few/on" in names
    for user, name in enumerate(names):
        alone = recommend_batch(
            variants.snapshots[name], HISTORIES.slice(user, 1), config(4, 4 if arm_in(name, "few") == "on" else 12)
        )
        mine = whole.lists.filter(pa.array(whole.users == user))
        assert mine.drop_columns(["variant", "score"]) == alone.lists.drop_columns(["variant", "score"])
        assert set(mine["variant"].to_pylist()) == {name}
        for ours, theirs in (
            (mine["score"].to_numpy(), alone.lists["score"].to_numpy()),
            (whole.contributions[whole.users == user], alone.contributions),
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert (np.diff(whole.users) >= 0).all()
    assert whole.counts.users == len(HISTORIES)
    boosted = {name: [] for name in ("on", "off")}
    for row in whole.lists.to_pylist():
        if (arm := arm_in(row["variant"], "tail")) is not None:
            boosted[arm].append(row["item_id"])
    assert set(boosted["on"]) != set(boosted["off"])


def test_the_constraints_of_a_request_stay_with_their_user() -> None:
    variants = make_variants(TAIL)
    excluded = np.zeros((60, 12), dtype=bool)
    excluded[np.arange(60), np.arange(60) % 5] = True
    constraints = RequestConstraints(
        excluded=excluded,
        also=np.full((60, 1), -1),
        searching=np.zeros(60, dtype=bool),
        asked=np.full(60, variants.default.now),
    )
    made = recommend_variants(variants, HISTORIES, config(4, 12), constraints)
    items = np.array([IDS.index(item) for item in made.lists["item_id"].to_pylist()])
    assert len(items)
    assert not excluded[made.users, items].any()


def test_live_users_are_split_by_their_ids_and_anonymous_ones_are_in_no_experiment() -> None:
    variants = make_variants(TAIL)
    ids = pa.array([f"v{number}" for number in range(59)] + [""])
    made = recommend_variants(variants, HISTORIES, config(4, 12), None, ids)
    arms = assign_arms(ids, "tail", [0.4, 0.4])
    expected = [{0: "tail/off", 1: "tail/on", -1: "default"}[arm] for arm in arms.tolist()]
    expected[-1] = "default"
    assert [made.lists["variant"][int((made.users == user).argmax())].as_py() for user in range(60)] == expected


def test_nobody_has_no_list() -> None:
    assert len(recommend_variants(make_variants(TAIL), HISTORIES.slice(0, 0), config(4, 12)).lists) == 0


def arm(**changes: Any) -> dict[str, Any]:
    return {"name": "one", "arms": [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5, **changes}]}


@pytest.mark.parametrize(
    ("experiments", "message"),
    [
        ([arm(rerank={"diversity": 3})], "experiments.0.arms.1.rerank.diversity: must be ≤ 1.0, got 3"),
        ([arm(rerank={"diversety": 1})], "experiments.0.arms.1.rerank.diversety: unknown key; did you mean diversity?"),
        ([arm(rerank={"where": "price > 3"})], "experiments.0.arms.1.rerank.where: holds for all users"),
        ([arm(rerank={"rules": {"nothing": {}}})], "experiments.0.arms.1: rerank.rules.nothing: unknown rule"),
        ([arm(recommend={"candidates": 3})], "experiments.0.arms.1.recommend.candidates=3 must be at least top_k=4"),
        ([arm(recomend={})], "experiments.0.arms.1.recomend: unknown key; did you mean recommend?"),
        ([arm(share=0.6)], "experiments.0: arms: the shares must add up to at most 1, got 1.1"),
        ([arm(share=0)], "experiments.0.arms.1.share: must be > 0.0, got 0"),
        ([arm(name="a")], "experiments.0: arms: the name a is there twice"),
        ([arm(name="a/b")], "experiments.0.arms.1.name: must match"),
        ([arm(), arm()], "experiments: the name one is there twice"),
        ([TAIL, arm(rerank={"long_tail_boost": 1.0})], "experiments: tail and one both change rerank.long_tail_boost"),
        ([{"name": "one", "arms": [{"name": "a", "share": 1.0}]}], "experiments.0.arms: "),
        ([{**arm(), "name": f"e{number}"} for number in range(4)], "experiments: 81 variants, at most 64"),
    ],
)
def test_what_an_experiment_cannot_be_is_said(experiments: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(*experiments)
    assert message in str(caught.value)


def test_the_night_has_another_id_where_an_experiment_changes_its_lists() -> None:
    assert settings(TAIL).digest() != settings().digest()
