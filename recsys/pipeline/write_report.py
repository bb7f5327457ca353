"""The report of a finished run: the records of its stages and the lists of a few users, as one HTML page."""

import itertools
import logging

import pyarrow as pa
import pyarrow.compute as pc

from recsys.pipeline.gate_summary import gate_summary
from recsys.pipeline.publish_lists import stage_metrics
from recsys.pipeline.run import Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES, WRITE_LISTS
from recsys.report.render import SampleList, render_report
from recsys.schema import RECOMMENDATIONS
from recsys.storage.manifest import lists_folder
from recsys.storage.tables import iter_batches, read_table

logger = logging.getLogger(__name__)

NUM_SAMPLES = 5
NUM_TITLES = 8


def write_report(run: Run) -> str:
    """Write ``report.html`` beside the run's metrics, from whatever the run has recorded so far.

    A report that cannot be made never changes the outcome of the night: the log says why, and a second start of a
    published night makes the report.

    Returns:
        Why there is no report; empty where there is one.
    """
    order = sorted(stage_metrics(run).items(), key=lambda entry: str(entry[1].get("finished_at", "")))
    try:
        page = render_report(run.folder.run_id, dict(order), gate_summary(run), _samples(run))
        run.storage.write_bytes(run.folder.report_path, page.encode())
    except Exception as error:
        why = f"{type(error).__name__}: {error}".partition("\n")[0]
        logger.warning("the report of %s was not written: %s", run.folder.run_id, why, exc_info=True)
        return why
    return ""


def _samples(run: Run) -> list[SampleList]:
    """The newest titles and the list of the first users of the first shard; none if no list is written."""
    grouped, listed = run.done(SHUFFLE_HISTORIES), run.done(WRITE_LISTS)
    if grouped is None or listed is None or not grouped.record.shards:
        return []
    shard = grouped.record.shards[0]
    histories = next(iter_batches(run.storage, f"{run.folder.histories_dir}/{shard}.parquet", NUM_SAMPLES), None)
    if histories is None:
        return []
    users = histories["user_id"].to_pylist()
    lists: dict[str, list[tuple[int, str, float]]] = {user: [] for user in users}
    most = NUM_SAMPLES * run.config.recommend.top_k
    rows = next(
        iter_batches(run.storage, f"{lists_folder(run.folder)}/{shard}.parquet", most), RECOMMENDATIONS.empty_table()
    )
    rows = rows.filter(pc.is_in(rows["user_id"], pa.array(users)))
    # if no texts are read, every event has an item
    texts_in = "texts" if "texts" in histories.column_names else "item_ids"
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
