"""Which day a night is of: a date, or one of the words `today`, `yesterday` and `newest`."""

import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.data.checks.bad_values import SHOWN, BadValue
from recsys.data.checks.quarantine import Reason
from recsys.data.checks.row_checks import filtered
from recsys.data.checks.ways_out import BadInput, way_out
from recsys.data.config import EventsInput
from recsys.data.events.interactions import CLOCK_TOLERANCE
from recsys.data.files.find_files import list_files
from recsys.data.files.optional_columns import LackingColumns, check_lacking
from recsys.data.files.readers import read_chunks
from recsys.data.files.whole_lines import may_grow, whole_bytes
from recsys.data.formats.input_format import BROKEN_FILE, FileInfo
from recsys.data.formats.registry import FORMATS
from recsys.data.times.date_evidence import FIRST_READING, DateEvidence, DateReading, merged_evidence, second_reading
from recsys.data.times.timestamps import read_timestamps
from recsys.data.values.cells import as_text
from recsys.errors import InputError
from recsys.schema import TIMESTAMP
from recsys.settings import Config
from recsys.storage.addresses import open_input
from recsys.storage.failures import explained

logger = logging.getLogger(__name__)

_VALUE_CHARS = 100


def night_date(config: Config) -> dt.date:
    """The data date of a night (UTC).

    Raises:
        InputError: `date: newest`, and the events cannot be read or have no timestamp.
    """
    today = dt.datetime.now(dt.UTC).date()
    match config.date:
        case dt.date() as date:
            return date
        case None | "today":
            return today
        case "yesterday":
            return today - dt.timedelta(days=1)
        case "newest":
            date = _newest_date(config.inputs.event_settings)
            logger.info("date newest: the newest event is of %s (UTC)", date)
            return date


def _newest_date(events: EventsInput) -> dt.date:
    """The day of the newest event that passes `where` and is not in the future."""
    newest, evidence, unread = _newest(events, FIRST_READING)
    if reading := second_reading(evidence, "inputs.events", events.columns.timestamp):
        newest, _, unread = _newest(events, reading)
    if newest is None:
        raise InputError(
            f"date newest: no row of inputs.events ({events.path}) has a timestamp that can be read and is not in the "
            f"future; check inputs.events.columns.timestamp={events.columns.timestamp!r}, timestamp_format and where, "
            f"or give a date{_way_out(events, unread)}"
        )
    return newest.astimezone(dt.UTC).date()


def _way_out(events: EventsInput, unread: Sequence[str]) -> str:
    """A clause about values that could not be read; "" without such values."""
    if not unread:
        return ""
    column, reason = events.columns.timestamp, Reason.UNREADABLE_TIMESTAMP
    values = [BadValue(reason=reason, column=column, value=text, rows=1, source=events.path, row="") for text in unread]
    shown = ", ".join(map(repr, unread))
    return f". Its values are such as {shown}: {way_out(BadInput(key='inputs.events', source=events, values=values))}"


def _newest(events: EventsInput, reading: DateReading) -> tuple[dt.datetime | None, DateEvidence, list[str]]:
    """The newest time in all files, what they prove about dates with two readings, and values that are no time."""
    latest = pa.scalar(dt.datetime.now(dt.UTC) + CLOCK_TOLERANCE, TIMESTAMP)
    fs, path = open_input(events.path)
    newest: dt.datetime | None = None
    lacking, evidence = LackingColumns(events), DateEvidence()
    unread: dict[str, None] = {}
    with explained(events.path):
        files = list_files(fs, path, events.format)
        for column in (column for file in files for column in _timestamps(fs, file, events, lacking)):
            read = read_timestamps(column, events, reading)
            found = pc.max(read.utc.filter(pc.fill_null(pc.less_equal(read.utc, latest), False))).as_py()
            if found is not None and (newest is None or found > newest):
                newest = found
            evidence = merged_evidence([evidence, read.evidence])
            if newest is None and len(unread) < SHOWN:
                texts = as_text(column.filter(pc.and_(pc.is_null(read.utc), pc.is_valid(column))))
                unread |= dict.fromkeys(text[:_VALUE_CHARS] for text in pc.unique(texts)[:SHOWN].to_pylist())
    if newest is None:
        check_lacking([lacking.close()], events)
    return newest, evidence, list(unread)[:SHOWN]


def _timestamps(fs: Any, file: FileInfo, events: EventsInput, lacking: LackingColumns) -> Iterator[pa.ChunkedArray]:
    """The column of timestamps of one file, in pieces; of Parquet without `where`, only this column is read.

    A last line that is still written is left out, as the night leaves it out.
    """
    name, path, form = events.columns.timestamp, file.path, FORMATS[events.format]
    if events.format == "parquet" and events.where is None:
        try:
            with fs.open(path, "rb") as stream:
                table = pq.ParquetFile(stream, coerce_int96_timestamp_unit="us")
                if name in table.schema_arrow.names and not pa.types.is_nested(table.schema_arrow.field(name).type):
                    for batch in table.iter_batches(columns=[name], batch_size=1 << 20):
                        yield pa.chunked_array([batch.column(0)])
                    return
        except BROKEN_FILE:
            pass  # the reader below says what is wrong with the file
    pieces = ((0, whole_bytes(file, form, events.encoding)),) if may_grow(fs, path, form) else ()
    for chunk in read_chunks(fs, path, events, pieces=pieces):
        table = lacking.fill(chunk.table, path)
        if table.num_rows and name in table.column_names:
            yield filtered(table, events.where, path, "inputs.events.where")[name]
