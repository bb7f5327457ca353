"""The stage `check`: the finished lists are read and checked, by themselves and against the night before."""

import logging
from collections.abc import Callable
from functools import partial, reduce
from operator import add, attrgetter

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.config.strict_json import from_json
from recsys.evaluation.list_checks import CHECKS, NightFigures, check_lists
from recsys.evaluation.list_figures import ListFigures, count_lists
from recsys.evaluation.list_shape import as_score_counts, concentration
from recsys.evaluation.packed_counts import pack_counts, unpack_counts
from recsys.pipeline.input_records import ReadRows
from recsys.pipeline.list_records import CheckedLists, WrittenShard
from recsys.pipeline.lists.compare_lists import (
    ListsBefore,
    NightBefore,
    as_overlap,
    comparable_lists,
    compare_shard,
    compared_share,
    night_before,
)
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import CHECK_LISTS, FINETUNE, INGEST_CATALOG, INGEST_EVENTS, INGEST_USERS, WRITE_LISTS
from recsys.pipeline.stored.item_ids import read_item_ids
from recsys.pipeline.stored.stored_item_counts import read_item_counts
from recsys.pipeline.workers.cluster import for_each_part, peak_of
from recsys.schema import ITEM_PLACES
from recsys.storage.manifest import lists_folder
from recsys.storage.tables import iter_batches, write_table

logger = logging.getLogger(__name__)

#: Rows of lists that a worker reads at a time.
BATCH_ROWS = 262_144


def check_written_lists(run: Run) -> CheckedLists:
    """Check the stored lists. A refusal is an answer, not an error: the caller stops the night."""
    written, published = run.record(WRITE_LISTS), night_before(run)
    before_lists = comparable_lists(run, published)
    parts = for_each_part(
        sorted(shard.name for shard in run.parts(WRITE_LISTS, WrittenShard).values()),
        partial(_shard_counter, run, _full_length(run), before_lists, compared_share(written.users)),
        label="check",
        rows=written.recommendations,
    )
    num_items = run.record(INGEST_CATALOG).items
    none = np.zeros(num_items, dtype=np.int64)
    found = reduce(add, map(_figures, parts), ListFigures(shown=none, top=none))
    num_shown = int((found.shown > 0).sum())
    trained, enough = run.record(FINETUNE).trained, found.comparable >= run.config.gate.min_users
    tonight = NightFigures(
        run_id=run.folder.run_id,
        lists=found.lists,
        top_k=run.config.recommend.top_k,
        items=num_shown,
        short_share=_share(found.short, found.lists),
        coverage=_share(num_shown, written.filtered.get("recommendable", num_items)),
        invalid_share=_share(found.invalid, found.lists),
        not_finite_share=_share(found.not_finite, found.rows),
        # Few lists, and those of popularity alone, may well have equal scores.
        equal_share=_share(found.equal, found.comparable) if trained and enough else None,
        quarantine_rate=_quarantine_rate(run),
        fault=found.fault,
    )
    before = figures_before(run, published)
    thresholds = {check.threshold: attrgetter(check.threshold)(run.config) for check in CHECKS}
    results = check_lists(tonight, before, thresholds)
    refused = [result for result in results if result.verdict == "refused"]
    skipped = sorted({result.reason for result in results if result.verdict == "not_examined"})
    return CheckedLists(
        rows=found.rows,
        verdict="refused" if refused else "passed",
        reason="; ".join(result.reason for result in refused) or "; ".join(skipped) or "every check passed",
        compared_with=before if isinstance(before, str) else before.run_id,
        figures=tonight,
        checks=results,
        concentration=concentration(found.shown, _num_interactions(run)) if num_shown else None,
        scores=as_score_counts(found.scores),
        item_places=_write_item_places(run, found),
        overlap=as_overlap(before_lists, [share for part in parts for share in part["shares"]]),
        peak_memory_mb=peak_of(parts),
    )


def figures_before(run: Run, before: NightBefore | str) -> NightFigures | str:
    """Figures of the lists of the answer of `night_before`, or the reason why there are none."""
    if isinstance(before, str):
        return before
    latest, manifest = before.latest, before.manifest
    figures = manifest.get("metrics", {}).get(CHECK_LISTS.name, {}).get("figures")
    if figures is None:  # an older version published it
        known = {"run_id": latest.run_id, "lists": manifest["users"]}
        figures = dict.fromkeys(_OPTIONAL) | known
    try:
        found = from_json(NightFigures, figures)
    except ValueError as error:
        logger.warning("%s: its figures do not fit this version: %s", latest.run_id, error)
        return f"the figures of {latest.run_id} do not fit this version"
    if found.lists < run.config.gate.min_users:
        return f"{latest.run_id} has only {found.lists:,} lists"
    return found


_OPTIONAL = ("short_share", "coverage", "invalid_share", "not_finite_share", "equal_share", "quarantine_rate")


def _full_length(run: Run) -> int:
    """Places of a list, where the catalog has as many items."""
    filtered = run.record(WRITE_LISTS).filtered
    return min(run.config.recommend.top_k, filtered.get("recommendable", run.config.recommend.top_k))


def _shard_counter(run: Run, full: int, before: ListsBefore | None, share: float) -> Callable[[str], Record]:
    """The work on one shard of lists.

    Args:
        run: The run.
        full: Length of a list that is not short.
        before: The lists to compare with, in the same shards.
        share: Share of the users whose lists are compared.
    """
    item_ids = read_item_ids(run)

    def count(name: str) -> Record:
        path = f"{lists_folder(run.folder)}/{name}"
        found = count_lists(iter_batches(run.storage, path, BATCH_ROWS), item_ids, full)
        record = {count: getattr(found, count) for count in _COUNTS}
        record |= {"shown": pack_counts(found.shown), "top": pack_counts(found.top)}
        record |= {"scores": found.scores.tolist(), "shares": []}
        if before is not None and not found.invalid:
            record["shares"] = compare_shard(run, before, name, share)
        return record

    return count


_COUNTS = ("lists", "rows", "short", "invalid", "fault", "not_finite", "comparable", "equal")


def _figures(part: Record) -> ListFigures:
    counts = {name: part[name] for name in _COUNTS}
    shown, top = (unpack_counts(part[name]) for name in ("shown", "top"))
    return ListFigures(**counts, shown=shown, top=top, scores=np.array(part["scores"], dtype=np.int64))


def _write_item_places(run: Run, found: ListFigures) -> str:
    """Write ITEM_PLACES of the catalog, in its order; returns the file."""
    path = f"{run.folder.dir}/item_places.parquet"
    write_table(run.storage, path, pa.table([found.shown, found.top], schema=ITEM_PLACES), ITEM_PLACES)
    return path


def _num_interactions(run: Run) -> npt.NDArray[np.int64]:
    """[I] interactions with each item of the catalog, up to the night's date."""
    item_ids = read_item_ids(run)
    return read_item_counts(run, "full", item_ids)


def _quarantine_rate(run: Run) -> float | None:
    done = (run.done(stage) for stage in (INGEST_CATALOG, INGEST_USERS, INGEST_EVENTS))
    records = (stage.record for stage in done if stage is not None)
    return max((record.bad_rate for record in records if isinstance(record, ReadRows)), default=None)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
