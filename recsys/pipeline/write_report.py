"""The report of a finished run: the records of its stages and the lists of a few users, as one HTML page."""

import itertools

import pyarrow as pa
import pyarrow.compute as pc

from recsys.pipeline.publish_lists import stage_metrics
from recsys.pipeline.run import Run
from recsys.pipeline.stages import RUN_GATE, SHUFFLE_HISTORIES
from recsys.report.render import SampleList, render_report
from recsys.schema import RECOMMENDATIONS
from recsys.storage.manifest import lists_folder
from recsys.storage.tables import iter_batches, read_table

NUM_SAMPLES = 5
NUM_TITLES = 8


def write_report(run: Run) -> None:
    """Write ``report.html`` beside the run's metrics."""
    order = sorted(stage_metrics(run).items(), key=lambda entry: entry[1]["finished_at"])
    page = render_report(run.folder.run_id, dict(order), run.record(RUN_GATE).details, _samples(run))
    run.storage.write_bytes(run.folder.report_path, page.encode())


def _samples(run: Run) -> list[SampleList]:
    """The newest titles and the list of the first users of the first shard."""
    shard = run.record(SHUFFLE_HISTORIES).shards[0]
    histories = next(iter_batches(run.storage, f"{run.folder.histories_dir}/{shard}.parquet", NUM_SAMPLES))
    users = histories["user_id"].to_pylist()
    lists: dict[str, list[tuple[int, str, float]]] = {user: [] for user in users}
    most = NUM_SAMPLES * run.config.recommend.top_k
    rows = next(
        iter_batches(run.storage, f"{lists_folder(run.folder)}/{shard}.parquet", most), RECOMMENDATIONS.empty_table()
    )
    rows = rows.filter(pc.is_in(rows["user_id"], pa.array(users)))
    texts_in = (
        "texts" if "texts" in histories.column_names else "item_ids"
    )  # if no texts are read, every event has an item
    newest, said = (
        [entries[-NUM_TITLES:][::-1] for entries in histories[name].to_pylist()] for name in ("item_ids", texts_in)
    )
    titles = _titles(run, {*itertools.chain.from_iterable(newest), *rows["item_id"].to_pylist()})
    for row in rows.to_pylist():
        if row["rank"] <= NUM_TITLES:
            lists[row["user_id"]].append((row["rank"], titles[row["item_id"]], row["score"]))
    return [
        SampleList(
            user_id=user,
            history=[titles[item] if item else f"“{text}”" for item, text in zip(items, texts, strict=True)],
            recommended=lists[user],
        )
        for user, items, texts in zip(users, newest, said, strict=True)
    ]


def _titles(run: Run, item_ids: set[str]) -> dict[str, str]:
    """The title of each item, or its id if it has no title."""
    catalog = read_table(run.storage, run.catalog_path, ["item_id", "attributes"])
    rows = catalog.filter(pc.is_in(catalog["item_id"], pa.array(sorted(item_ids))))
    return {row["item_id"]: dict(row["attributes"]).get("title") or row["item_id"] for row in rows.to_pylist()}
