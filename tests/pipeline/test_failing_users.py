"""Users whose lists fail get popular items, and all other lists stay as they are, to the last bit.

Here the parts run in this process; `tests/faults` has workers that really die.
"""

import json
import shutil
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from ray.exceptions import RayTaskError

from jobs.explain import explain
from jobs.nightly import nightly  # noqa: F401 (Ray comes with it)
from recsys.errors import EngineError
from recsys.pipeline.lists import fallback_lists, write_lists
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.run import Run
from recsys.pipeline.scoring.load_variants import load_variants
from recsys.pipeline.stages import WRITE_LISTS
from recsys.pipeline.workers.worker_failures import PartFailure
from recsys.ranking.experiment_config import Experiment
from recsys.ranking.stand_ins import with_stand_ins
from recsys.ranking.variants import recommend_variants
from recsys.storage.filesystem import Storage
from recsys.storage.manifest import lists_folder
from recsys.storage.runs import RunFolder


@pytest.fixture
def night(one_night: tuple[Path, dict[str, Any]], tmp_path: Path) -> Run:
    """A copy of a night whose lists are not written yet."""
    shutil.copytree(one_night[0], tmp_path / "warehouse")
    run = stored_run(RunFolder(Storage(str(tmp_path / "warehouse")), one_night[1]["run_id"]))
    run.storage.delete_folder(f"{run.folder.stages_dir}/{WRITE_LISTS.name}")
    return replace(run, config=run.config.model_copy(update={"storage": run.storage.root}))


def lists_of(run: Run) -> pa.Table:
    return pa.concat_tables(
        pq.read_table(file) for file in sorted(Path(run.storage.path(lists_folder(run.folder))).glob("shard-*.parquet"))
    )


def without(lists: pa.Table, users: Sequence[str]) -> pa.Table:
    return lists.filter(pc.invert(pc.is_in(lists["user_id"], value_set=pa.array(users))))


@pytest.fixture
def fail_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[str]], None]:
    """Let the lists of these users raise; the parts run one after the other."""

    def for_each_part(
        parts: Sequence[str], build: Callable[[], Any], *, failures: list[PartFailure] | None = None, **_: Any
    ) -> None:
        work = build()
        for part in parts:
            try:
                work(part)
            except ValueError as error:
                assert failures is not None, "a shard fails without the users who fail"
                failures.append(PartFailure(part, RayTaskError("work", "", error)))

    def fail(users: Sequence[str]) -> None:
        def recommend(variants: Any, histories: pa.Table, *arguments: Any, **named: Any) -> Any:
            if bad := sorted(set(users) & set(histories["user_id"].to_pylist())):
                raise ValueError(f"no price for {bad[0]}")
            return recommend_variants(variants, histories, *arguments, **named)

        monkeypatch.setattr(write_lists, "for_each_part", for_each_part)
        monkeypatch.setattr(write_lists, "recommend_variants", recommend)
        monkeypatch.setattr(fallback_lists, "recommend_variants", recommend)

    return fail


def test_they_get_popular_items_and_the_others_their_own(
    night: Run, fail_for: Callable[[Sequence[str]], None], caplog: pytest.LogCaptureFixture
) -> None:
    before = lists_of(night)
    users = before["user_id"].unique().to_pylist()
    bad = [users[3], users[-1]]
    fail_for(bad)
    record = write_lists.recommend(night)
    assert (record.fallback_users, record.reasons, record.users) == (2, {"ranking_failed": 2}, len(users))
    after = lists_of(night)
    assert without(after, bad).equals(without(before, bad))
    assert after["user_id"].unique().to_pylist() == users, "the order of the users stays"
    for user in bad:
        own = after.filter(pc.equal(after["user_id"], user))
        assert own["source"].unique().to_pylist() == ["popularity"]
        assert own["rank"].to_pylist() == [1, 2, 3, 4, 5]
    folder = Path(night.storage.path(night.folder.quarantine_dir))
    rows = pa.concat_tables(pq.read_table(file) for file in sorted(folder.glob("recommend-*.parquet"))).to_pylist()
    assert sorted(json.loads(row["row"])["user_id"] for row in rows) == sorted(bad)
    assert {(row["column"], row["reason"].partition(" for ")[0]) for row in rows} == {
        ("user_id", "ranking_failed: ValueError: no price")
    }
    assert "2 users get popular items" in caplog.text
    histories = pq.read_table(night.storage.path(night.folder.histories_dir))
    reasons = fallback_lists.fallback_reasons(night, histories)
    assert reasons == {user: f"ranking_failed: ValueError: no price for {user}" for user in bad}
    assert not any(user in caplog.text for user in bad), "the log names no user"


def test_they_are_told_that_popular_items_were_published(
    night: Run, fail_for: Callable[[Sequence[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = lists_of(night)["user_id"].unique().to_pylist()[:2]
    fail_for([bad])
    write_lists.recommend(night)
    answer = explain(night.config, Namespace(user_ids=[good, bad]))
    assert answer["fallback"] == {bad: f"ranking_failed: ValueError: no price for {bad}"}
    assert {row["user_id"] for row in answer["lists"]} == {good}
    assert answer["empty"] == {}
    assert explain(night.config, Namespace(user_ids=[bad]))["lists"] == []
    assert f"user '{bad}': the published list is of popular items" in capsys.readouterr().err


def test_a_night_in_which_many_fail_ends_with_an_error(night: Run, fail_for: Callable[[Sequence[str]], None]) -> None:
    users = lists_of(night)["user_id"].unique().to_pylist()
    fail_for(users[::7])
    with pytest.raises(EngineError, match=r"users end their worker .* recommend\.max_failed_users"):
        write_lists.recommend(night)
    recommend = night.config.recommend.model_copy(update={"max_failed_users": 0})
    with pytest.raises(EngineError, match=r"^recommend: shard-0000\d: ValueError: no price"):
        write_lists.recommend(replace(night, config=night.config.model_copy(update={"recommend": recommend})))


def test_the_variant_of_a_user_stays(night: Run) -> None:
    arms = [{"name": "same", "share": 0.5}, {"name": "tail", "share": 0.5, "rerank": {"long_tail_boost": 2.0}}]
    experiment = Experiment.model_validate({"name": "boost", "arms": arms})
    run = replace(night, config=night.config.model_copy(update={"experiments": [experiment]}))
    config = run.config.recommend
    variants = load_variants(run, run.published_id, config)
    histories = pq.read_table(run.storage.path(run.folder.histories_dir))
    popular = fallback_lists.popular_lists(run, variants, config)
    failing = [0, 5, len(histories) - 1]
    found, expected = (
        fallback_lists.recommend_or_fall_back(variants, histories, config, rows, popular).lists
        for rows in (failing, [])
    )
    users = histories["user_id"].take(pa.array(failing)).to_pylist()
    assert without(found, users).equals(without(expected, users))
    assert found.select(["user_id", "variant"]).equals(expected.select(["user_id", "variant"]))
    alone = histories.take(pa.array(failing))
    lists = fallback_lists.recommend_or_fall_back(variants, alone, config, [0, 1, 2], popular).lists
    assert lists["source"].unique().to_pylist() == ["popularity"]


def test_a_stand_in_has_as_many_events_and_nothing_of_the_user() -> None:
    rows = [
        {"user_id": "bad", "item_ids": ["x"] * 5, "weights": [9.0] * 5, "seen_item_ids": ["x"]},
        {"user_id": "new", "item_ids": [], "weights": [], "seen_item_ids": []},
        {"user_id": "ann", "item_ids": ["a", "b"], "weights": [1.0, 2.0], "seen_item_ids": ["a", "b"]},
    ]
    histories = pa.Table.from_pylist(rows)
    stood_in = with_stand_ins(histories, [0])
    assert stood_in is not None
    assert stood_in.to_pylist()[1:] == rows[1:]
    assert stood_in.to_pylist()[0] == rows[2] | {
        "item_ids": ["a", "b", "a", "b", "a"],
        "weights": [1.0, 2.0, 1.0, 2.0, 1.0],
    }
    assert with_stand_ins(histories, [0, 1, 2]) is None
