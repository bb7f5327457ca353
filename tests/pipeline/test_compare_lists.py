"""The lists of two nights are compared user by user, if they are in the same shards and can be read."""

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pytest

from recsys.pipeline.list_records import WrittenShard
from recsys.pipeline.lists.check_lists import check_written_lists
from recsys.pipeline.run import Run
from recsys.pipeline.stages import FINETUNE, WRITE_LISTS
from recsys.ranking.rerank_counts import RerankCounts
from recsys.schema import RECOMMENDATIONS
from recsys.storage.manifest import Shard, lists_folder, write_manifest
from recsys.storage.publish import publish
from recsys.storage.runs import RunFolder
from recsys.storage.tables import write_table
from tests.records import finish

SHARD = "shard-00000.parquet"


def write(run: Run, lists: dict[str, list[str]]) -> WrittenShard:
    """Lists in the one shard of a run."""
    rows = [
        {"user_id": user, "rank": rank, "item_id": item, "score": -float(rank)}
        | {"source": "r", "reason": "", "variant": ""}
        for user, items in lists.items()
        for rank, item in enumerate(items, start=1)
    ]
    table = pa.Table.from_pylist(rows, RECOMMENDATIONS)
    stats = write_table(run.storage, f"{lists_folder(run.folder)}/{SHARD}", table, RECOMMENDATIONS)
    return WrittenShard(
        name=SHARD,
        rows=len(rows),
        users=len(lists),
        users_without_list=0,
        bytes=stats.bytes,
        sha256=stats.sha256,
        seconds=0.0,
        reranked=RerankCounts(),
        peak_memory_mb=1.0,
    )


@pytest.fixture
def run(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]) -> Run:
    """A run with the lists of two users, after a published night with the lists of two users."""
    made: Run = make_night(draw_events(20, 20))
    before = replace(made, folder=RunFolder(made.storage, "2026-11-21-0123456789ab"))
    old = write(before, {"a": ["i00", "i01"], "gone": ["i00"]})
    shard = Shard(name=SHARD, rows=old.rows, users=old.users, bytes=old.bytes, sha256=old.sha256)
    details = {"model_id": "m", "config": {"recommend": {"top_k": 2}}}
    manifest = write_manifest(before.folder, [shard], details)
    publish(before.folder, manifest, "m")
    written = write(made, {"a": ["i01", "i02", "i00"], "new": ["i03"]})
    made.remember_part(WRITE_LISTS, "shard-00000", written)
    finish(made, WRITE_LISTS, shards=1, users=2)
    finish(made, FINETUNE)
    return made


def test_the_users_of_both_nights_are_compared(run: Run) -> None:
    checked = check_written_lists(run)
    assert checked.overlap is not None
    assert (checked.overlap.run_id, checked.overlap.users, checked.overlap.mean) == ("2026-11-21-0123456789ab", 1, 0.5)
    assert (checked.overlap.places, checked.overlap.tenths[5]) == (2, 1)
    assert checked.scores is not None
    assert (sum(checked.scores.first), sum(checked.scores.others)) == (2, 2)
    assert checked.concentration is not None


def test_lists_that_cannot_be_read_are_not_compared(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.storage.delete(f"recommendations/run_date=2026-11-21/run_id=2026-11-21-0123456789ab/{SHARD}")
    assert check_written_lists(run).overlap is None
    assert "not compared" in caplog.text


def test_lists_in_other_shards_are_not_compared(run: Run) -> None:
    run.remember_part(WRITE_LISTS, "shard-00001", replace(write(run, {}), name="shard-00001.parquet"))
    write_table(
        run.storage, f"{lists_folder(run.folder)}/shard-00001.parquet", RECOMMENDATIONS.empty_table(), RECOMMENDATIONS
    )
    assert check_written_lists(run).overlap is None
