"""The report of a finished run: its page in the site of the nights, the site's index, and the page in its folder."""

import logging

from recsys.errors import InputError, NewerFormatError, RecsysError, is_defect, one_line
from recsys.pipeline.lists.sample_users import sample_users
from recsys.pipeline.measuring.gate_summary import gate_summary
from recsys.pipeline.measuring.realized_results import REALIZED_PATH
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.publishing.publish_lists import stage_metrics
from recsys.pipeline.run import Run
from recsys.pipeline.stages import INGEST_CATALOG
from recsys.report.config_changes import ConfigChange, config_changes, without_credentials
from recsys.report.night_summary import (
    MOST_NIGHTS,
    UNPUBLISHED,
    NightSummary,
    in_order,
    read_summary,
    summarize,
)
from recsys.report.past_results import Realized, summarize_realized
from recsys.schema import REALIZED
from recsys.storage.filesystem import Storage
from recsys.storage.manifest import is_complete
from recsys.storage.read_together import read_together
from recsys.storage.record_kinds import NIGHT_SUMMARY
from recsys.storage.runs import RunFolder
from recsys.storage.site import INDEX, NIGHTS, STYLE, SUMMARIES, night_page
from recsys.storage.tables import read_table

logger = logging.getLogger(__name__)


def has_report(run: Run) -> bool:
    """Whether a published run has its report: that of an earlier start, which failed, is none."""
    if not run.storage.exists(run.folder.report_path):
        return False
    try:
        summary = read_summary(run.storage.read_json(f"{SUMMARIES}/{run.folder.run_id}.json"))
    except (FileNotFoundError, ValueError):
        return True
    return summary is None or summary.verdict != UNPUBLISHED


def write_report(run: Run) -> None:
    """Write the night's page and the index of the site, from whatever the run has recorded so far.

    The page in the run's folder is written last: where it is, the others are too.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it says where its cache is, and that it looks for fonts
    # here, so that a job starts without Matplotlib, and that a night gets along where it cannot be imported
    from recsys.report.night_page import NightRecords, render_night

    storage, run_id = run.storage, run.folder.run_id
    stages = dict(sorted(stage_metrics(run).items(), key=lambda entry: str(entry[1].get("finished_at", ""))))
    gate = gate_summary(run)
    if gate and gate["verdict"] != "refused" and not is_complete(run.folder):
        gate |= {"verdict": UNPUBLISHED}
    summary = summarize(run_id, stages, gate)
    others = [night for night in read_summaries(storage) if night.run_id != run_id]
    before = _night_before(summary, others)
    records = NightRecords(
        run_id=run_id,
        stages=stages,
        gate=gate,
        summary=summary,
        before=before,
        samples=sample_users(run),
        shown_columns=_shown_columns(run),
        config=_config_text(run),
        changes=_changes(run, before),
    )
    page, alone = render_night(records)
    storage.write_bytes(night_page(run_id), page.encode())
    storage.write_json(f"{SUMMARIES}/{run_id}.json", NIGHT_SUMMARY.stamp(summary.as_json()))
    write_index(storage, [*others, summary])
    storage.write_bytes(run.folder.report_path, alone.encode())


def write_index(storage: Storage, summaries: list[NightSummary]) -> None:
    """Write the index of the site: trends over these nights, and what users did with their lists, where it is known."""
    from recsys.report.index_page import render_index
    from recsys.report.page_templates import style_sheet

    storage.write_bytes(STYLE, style_sheet().encode())
    storage.write_bytes(INDEX, render_index(summaries, _read_realized(storage), _deleted(storage, summaries)).encode())


def write_index_again(storage: Storage) -> None:
    """Write the index after pages of nights were deleted. If that fails, the log says why; the next night writes it."""
    try:
        write_index(storage, read_summaries(storage))
    except Exception as error:
        logger.warning("the index of the site was not written: %s", one_line(error), exc_info=is_defect(error))


def _deleted(storage: Storage, summaries: list[NightSummary]) -> set[str]:
    """Ids of the nights that retention deleted: their figures stay, without a page."""
    pages = set(storage.list(NIGHTS))
    return {night.run_id for night in summaries if f"{night.run_id}.html" not in pages}


def _read_realized(storage: Storage) -> Realized:
    """The realized results, none where they were not written or cannot be read."""
    if not storage.exists(REALIZED_PATH):
        return Realized()
    try:
        return summarize_realized(read_table(storage, REALIZED_PATH, REALIZED.names))
    except InputError as error:
        logger.warning("the index is without realized results: %s", error)
        return Realized()


def read_summaries(storage: Storage) -> list[NightSummary]:
    """The stored summaries of the newest nights; what is damaged is left out, and the log says so."""

    def read(name: str) -> NightSummary | None:
        url = storage.url(SUMMARIES, name)
        try:
            found = read_summary(NIGHT_SUMMARY.current(storage.read_json(f"{SUMMARIES}/{name}"), url))
        except NewerFormatError as error:
            logger.warning("%s; until then the night is not in the index", error)
            return None
        except (AttributeError, ValueError, FileNotFoundError):  # no JSON, or no object
            found = None
        if found is None:
            logger.warning("%s is damaged: the night is not in the index", url)
        return found

    names = [name for name in storage.list(SUMMARIES) if name.endswith(".json")][-MOST_NIGHTS:]  # by their dates
    return [found for found in read_together(read, names) if found is not None]


def _night_before(summary: NightSummary, others: list[NightSummary]) -> NightSummary | None:
    """The newest of the nights that were published before this one."""
    published = [night for night in others if night.verdict in ("passed", "not_examined", "overridden")]
    order = [night.run_id for night in in_order([*published, summary])]
    place = order.index(summary.run_id)
    return in_order(published)[place - 1] if place else None


def _shown_columns(run: Run) -> dict[str, set[str]]:
    """Columns whose bad values name no user, by stage: some of the events, and all that were bad in items."""
    columns = run.config.inputs.event_settings.columns
    names = ("item_id", "timestamp", "event", "weight")
    shown = {*names, *(getattr(columns, name) for name in names)}  # events of the live service have our names
    items = run.done(INGEST_CATALOG)
    bad_items = {example.column for example in items.record.examples} if items is not None else set()
    return {"ingest": shown - {columns.user_id, columns.text, None}, "catalog": bad_items - {""}}


def _config_text(run: Run) -> str:
    """The config that is stored with the run, as YAML."""
    try:
        return without_credentials(run.storage.read_bytes(run.folder.config_path).decode())
    except FileNotFoundError:
        return without_credentials(run.config.to_yaml())


def _changes(run: Run, before: NightSummary | None) -> list[ConfigChange] | None:
    """What changed in the config; None where that of the night before is not there or cannot be read."""
    if before is None:
        return None
    try:
        old, new = (stored_run(RunFolder(run.storage, run_id)).config for run_id in (before.run_id, run.folder.run_id))
    except (RecsysError, FileNotFoundError):
        return None
    return config_changes(old.model_dump(mode="json"), new.model_dump(mode="json"))
