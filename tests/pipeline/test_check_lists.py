"""What the check of finished lists looks at: the shards of the run, its inputs, and the night before."""

from collections.abc import Callable

import pyarrow as pa
import pytest

from recsys.pipeline.list_records import WrittenShard
from recsys.pipeline.lists.check_lists import check_written_lists, figures_before
from recsys.pipeline.lists.compare_lists import night_before
from recsys.pipeline.run import Run
from recsys.pipeline.stages import FINETUNE, INGEST_CATALOG, INGEST_EVENTS, WRITE_LISTS
from recsys.ranking.rerank_counts import RerankCounts
from recsys.schema import RECOMMENDATIONS
from recsys.storage.manifest import lists_folder, write_manifest
from recsys.storage.publish import publish
from recsys.storage.runs import RunFolder
from recsys.storage.tables import read_table, write_table
from tests.pipeline.conftest import IDS
from tests.records import finish

SHARD = "shard-00000"


@pytest.fixture
def run(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run with one list in one shard."""
    made = make_night(draw_events(20, 20))
    row = {"user_id": "u", "rank": 1, "item_id": "i00", "score": 1.0, "source": "r", "reason": "", "variant": ""}
    table = pa.Table.from_pylist([row], RECOMMENDATIONS)
    stats = write_table(made.storage, f"{lists_folder(made.folder)}/{SHARD}.parquet", table, RECOMMENDATIONS)
    shard = WrittenShard(
        name=f"{SHARD}.parquet",
        rows=1,
        users=1,
        users_without_list=0,
        bytes=stats.bytes,
        sha256=stats.sha256,
        seconds=0.0,
        reranked=RerankCounts(),
        peak_memory_mb=1.0,
    )
    made.remember_part(WRITE_LISTS, SHARD, shard)
    finish(made, WRITE_LISTS, shards=1)
    finish(made, FINETUNE)
    return made


def test_a_manifest_that_is_there_is_no_shard(run: Run) -> None:
    """A night that a check had refused may be killed between its manifest and the pointer."""
    write_manifest(run.folder, [], {"model_id": run.model_id})
    checked = check_written_lists(run)
    assert checked.figures.lists == 1
    places = read_table(run.storage, checked.item_places).to_pylist()
    assert places == [{"num_lists": int(place == 0), "num_top_10": int(place == 0)} for place in range(len(IDS))]


def test_broken_last_lines_of_feedback_do_not_refuse_a_night(run: Run) -> None:
    finish(run, INGEST_CATALOG, rows=100)
    finish(run, INGEST_EVENTS, rows=80, quarantined=26, forgiven=25, feedback_rows=30, filtered=10)
    assert check_written_lists(run).figures.quarantine_rate == 1 / 40


def test_figures_of_another_version_are_not_compared(run: Run) -> None:
    before = RunFolder(run.storage, "2026-11-21-0123456789ab")
    metrics = {"check": {"figures": {"run_id": before.run_id, "lists": 5000, "a new figure": 1}}}
    manifest = write_manifest(before, [], {"model_id": "m", "metrics": metrics})
    publish(before, manifest, "m")
    assert figures_before(run, night_before(run)) == f"the figures of {before.run_id} do not fit this version"
