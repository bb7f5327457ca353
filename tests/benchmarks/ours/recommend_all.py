"""Lists for all users by the published model of a night: Arrow histories in, ranked lists out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from stopwatch import THREADS, Work, compete

from recsys.pipeline.open_run import open_run
from recsys.pipeline.scoring.load_snapshot import load_snapshot
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.ranking.lists import recommend_batch
from recsys.settings import load_config
from recsys.storage.latest import read_latest
from recsys.storage.runs import RunFolder
from recsys.storage.tables import read_table


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    facts = json.loads((folder / "facts.json").read_text())
    run = open_run(load_config(str(folder / "config.yaml"), facts["changes"]))
    latest = read_latest(run.storage)
    assert latest is not None, f"{folder} has no published night"
    run = replace(run, folder=RunFolder(run.storage, latest.run_id))
    config = run.config.recommend.model_copy(update={"cpus_per_worker": THREADS})
    snapshot = load_snapshot(run, run.published_id, config, "full")
    shards = run.record(SHUFFLE_HISTORIES).shards
    histories = pa.concat_tables(
        read_table(run.storage, f"{run.folder.histories_dir}/{shard}.parquet") for shard in shards
    ).combine_chunks()

    def work(number: int) -> int:
        for start in range(0, len(histories), config.batch_size):
            lists = recommend_batch(snapshot, histories.slice(start, config.batch_size), config).lists
            assert len(lists), "no lists"
        return len(histories)

    return work, {"users": len(histories)}


if __name__ == "__main__":
    compete(prepare)
