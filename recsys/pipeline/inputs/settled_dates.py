"""Dates with two readings: the whole input settles them, whatever the number of parts and workers."""

import logging
from collections.abc import Callable

from recsys.data.times.date_evidence import FIRST_READING, DateEvidence, DateReading, merged_evidence, second_reading
from recsys.pipeline.run import Record, Run

logger = logging.getLogger(__name__)


def read_with_settled_dates(
    run: Run, name: str, column: str | None, read_parts: Callable[[DateReading], list[Record]]
) -> list[Record]:
    """Read the parts of an input; read them again if their dates prove another reading than the first.

    Args:
        run: The run.
        name: `events`, `items` or `users`.
        column: Column of the dates.
        read_parts: Reads all parts and returns their records. `dates` of a record is its evidence as a mapping.

    Raises:
        InputError: some dates have two readings, and no date settles which one is right.
    """
    parts = read_parts(FIRST_READING)
    evidence = merged_evidence(DateEvidence(**part["dates"]) for part in parts)
    reading = second_reading(evidence, f"inputs.{name}", column)
    if reading is None:
        return parts
    proof = evidence.day_first if reading.day_first else evidence.epoch_number
    logger.info(
        "inputs.%s: %r shows how the dates of %r are written, so all are read again; set timestamp_format to save time",
        name, proof, column,
    )  # fmt: skip
    folder = run.folder.quarantine_dir
    for file in run.storage.list(folder):
        if file.startswith(f"{name}-"):  # the second reading may have fewer bad rows, in fewer files
            run.storage.delete(f"{folder}/{file}")
    return read_parts(reading)
