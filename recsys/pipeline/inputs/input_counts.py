"""Counts of the rows of an input, and the refusal of inputs with too many bad rows."""

import logging
from collections import Counter
from collections.abc import Sequence

from recsys.config.strict_json import as_json, from_json
from recsys.data.checks.bad_values import BadValue, merge_bad_values
from recsys.data.config import EventsInput
from recsys.errors import InputError
from recsys.pipeline.input_records import ReadRows
from recsys.pipeline.inputs.explain_bad_rows import explain_bad_rows
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import INGEST_EVENTS
from recsys.pipeline.workers.cluster import peak_of
from recsys.storage.filesystem import Storage
from recsys.storage.latest import read_latest
from recsys.storage.manifest import read_manifest

logger = logging.getLogger(__name__)


def count_rows(parts: Sequence[Record]) -> ReadRows:
    """Sum `rows`, `filtered`, `quarantined` (see `Quarantine.close`) and `lacking` of the parts of an input."""
    reasons: Counter[str] = Counter()
    lacking: Counter[str] = Counter()
    for part in parts:
        lacking.update(part.get("lacking", {}).get("rows", {}))  # the live service writes all columns
        reasons.update(part["quarantined"]["reasons"])
    examples = ([from_json(BadValue, bad) for bad in part["quarantined"]["examples"]] for part in parts)
    return ReadRows(
        rows=sum(part["rows"] for part in parts),
        filtered=sum(part["filtered"] for part in parts),
        later=sum(part.get("later", 0) for part in parts),
        quarantined=sum(reasons.values()),
        reasons=dict(sorted(reasons.items())),
        lacking=dict(sorted(lacking.items())),
        examples=merge_bad_values(examples),
        peak_memory_mb=peak_of(parts),
    )


def refuse_bad_input(run: Run, counts: ReadRows, num_usable: int, key: str, oldest_later: str = "") -> None:
    """Stop a night whose input has no usable row, or too many bad rows. The quarantine stays for inspection.

    Args:
        run: Its config has the limit.
        counts: Rows of the input.
        num_usable: Those that the night can use.
        key: Name of the input.
        oldest_later: Time of the oldest row from after the night's date, ISO 8601.

    Raises:
        InputError: the message names `inputs.<key>`.
    """
    path = getattr(run.config.inputs, key).path
    if not counts.rows:
        raise InputError(f"inputs.{key}: {path} holds no rows; name files with rows")
    refuse_bad_rate(run, counts, key)
    if not num_usable:
        where = f" (`where` left out {counts.filtered:,})" if counts.filtered else ""
        if counts.filtered == counts.rows:
            where += (
                f": inputs.{key}.where is true of no row. Beside a number, a text that is not a plain number, such as "
                f"'$9.99' or '1,5', is missing"
            )
        if counts.later:
            every = "all" if counts.later == counts.rows else f"{counts.later:,}"
            where += (
                f": {every} of them lie after the night's date {run.date}"
                + (f", the oldest is of {oldest_later}" if oldest_later else "")
                + "; give a later --date, or --date newest for the day of the newest event"
            )
        raise InputError(f"inputs.{key}: none of the {counts.rows:,} rows of {path} can be used{where}")


def refuse_bad_rate(run: Run, counts: ReadRows, key: str, *, stopped: bool = False) -> None:
    """Stop a night whose input has too many bad rows.

    Args:
        run: Its config has the limit.
        counts: Rows of the input.
        key: Name of the input.
        stopped: Whether reading ended before the end of the input.

    Raises:
        InputError: the share of bad rows is above `inputs.max_quarantine_rate`.
    """
    limit = run.config.inputs.max_quarantine_rate
    if counts.bad_rate <= limit:
        return
    of = " that were read until this was sure" if stopped else ""
    message = (
        f"inputs.{key}: {counts.num_bad:,} of {counts.rows - counts.filtered:,} rows{of} ({counts.bad_rate:.1%}) "
        f"cannot be used, more than inputs.max_quarantine_rate={limit:.1%}:{explain_bad_rows(run, counts, key)}\n"
        f"  They are in {run.storage.url(run.folder.quarantine_dir)}; mend the input, narrow `where`, or raise the "
        f"limit"
    )
    if run.force:
        logger.warning("--force overrides this limit: %s", message)
        return
    raise InputError(message, {f"inputs.{key}": as_json(counts)})


def refuse_lost_events(storage: Storage, source: EventsInput) -> None:
    """Stop a night whose files of events are empty, unless it is the first: empty files are fine in a new shop.

    Args:
        storage: Of the published night.
        source: The events.

    Raises:
        InputError: the published night had events, so that an export has failed.
    """
    latest = read_latest(storage)
    if latest is None:
        return
    ingested = read_manifest(storage, latest).get("metrics", {}).get(INGEST_EVENTS.name, {})
    if num := ingested.get("accepted", 0) - ingested.get("feedback", 0):
        raise InputError(
            f"inputs.events: {source.path} holds no rows, and the published night {latest.run_id} read {num:,} events; "
            f"name files with rows, or leave inputs.events out if the shop has none"
        )
