"""Reading of an input ends early where its bad rows prove that the night will be refused.

A proof needs the bad rows of the whole input, not of one part: one bad file among a thousand must not stop a night. So
the bad rows are compared with an estimate of all rows, with a wide margin. Where the estimate was too low after all,
the input is read again to its end.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from recsys.data.checks.quarantine import Reason
from recsys.data.config import TableInput
from recsys.data.files.optional_columns import check_lacking
from recsys.data.formats.input_format import FileInfo
from recsys.data.times.date_evidence import DateEvidence
from recsys.errors import InputError
from recsys.pipeline.inputs.input_counts import count_rows, refuse_bad_rate
from recsys.pipeline.inputs.input_parts import Quarantine
from recsys.pipeline.inputs.input_sizes import estimate_input
from recsys.pipeline.run import Record, Run

logger = logging.getLogger(__name__)

#: Inputs of fewer bytes are read to their end, which takes seconds.
_LEAST_BYTES = 4 << 20
#: Fewer bad rows prove nothing.
_LEAST_ROWS = 10_000
#: Faults that another reading of dates with two readings may mend; see `settled_dates`.
_FAULTS_OF_READING = (Reason.EARLY_TIMESTAMP, Reason.FUTURE_TIMESTAMP)
#: The input may have so many times the estimated rows.
_MARGIN = 4

#: What is read at a time.
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StopRule:
    """When reading may end."""

    max_rate: float
    """`inputs.max_quarantine_rate`."""
    estimate: float
    """Estimated rows of the whole input; infinite: it is read to its end."""

    def proves(self, rows: int, bad: int, share_read: float = 1.0) -> bool:
        """Whether the bad rows would be too many even in an input of `_MARGIN` times the estimated rows.

        Args:
            rows: That were read.
            bad: Those of them that are bad.
            share_read: The rows are about this share of the input; 1: that is not known.
        """
        all_rows = _MARGIN * max(self.estimate, rows / share_read)
        return bad > _LEAST_ROWS and bad > self.max_rate * all_rows

    def limit(
        self,
        chunks: Iterable[T],
        quarantine: Quarantine,
        num_read: Callable[[], int],
        dates: Sequence[DateEvidence],
    ) -> Iterator[T]:
        """The chunks of a part, until its own rows prove that the input will be refused.

        Args:
            chunks: Of the part.
            quarantine: Gets the bad rows of each chunk before the next one is taken.
            num_read: Rows of the part that passed `where` so far.
            dates: Gets the evidence of each chunk before the next one is taken.
        """
        for chunk in chunks:
            yield chunk
            if self.proves(num_read(), _surely_bad(quarantine.reasons, dates)):
                quarantine.stopped = True
                return


class Tally:
    """Adds up the parts of an input as they finish."""

    def __init__(self, rule: StopRule, num_parts: int) -> None:
        self._rule = rule
        self._num_parts = num_parts
        self._rows = self._bad = self._finished = 0
        self.proved = False
        """Whether the parts so far prove that the input will be refused."""

    def ends(self, part: Record) -> bool:
        """Add a part, and say whether the others need not be read."""
        self._rows += part["rows"] - part["filtered"]
        self._bad += _surely_bad(part["quarantined"]["reasons"], [DateEvidence(**part["dates"])])
        self._finished += 1
        self.proved = self._rule.proves(self._rows, self._bad, self._finished / self._num_parts)
        return self.proved or part["quarantined"]["stopped"]


def _surely_bad(reasons: Mapping[str, int], dates: Sequence[DateEvidence]) -> int:
    """Bad rows of a part, without those that may be good once the dates of the whole input are settled."""
    open_readings = any(found.either_order or found.date_number for found in dates)
    return sum(rows for reason, rows in reasons.items() if not (open_readings and reason in _FAULTS_OF_READING))


def read_or_refuse(
    run: Run,
    name: str,
    source: TableInput,
    files: Sequence[FileInfo],
    num_parts: int,
    read: Callable[[StopRule, Callable[[Record], bool]], list[Record]],
) -> list[Record]:
    """Read all parts of an input, or stop the night as soon as its bad rows are too many.

    Args:
        run: The run.
        name: Name of the input: `events`, `items` or `users`.
        source: Its settings.
        files: Its files.
        num_parts: Parts that are read, of about the same size.
        read: Reads the parts by a rule, until a finished part makes the second argument true.

    Raises:
        InputError: too many rows are bad.
    """
    limit = run.config.inputs.max_quarantine_rate
    rule = StopRule(limit, math.inf if run.force else _estimate(source, files))
    tally = Tally(rule, num_parts)
    parts = read(rule, tally.ends)
    if tally.proved:
        check_lacking([part["lacking"] for part in parts], source)  # a column that no file has explains all bad rows
        refuse_bad_rate(run, count_rows(parts), name, stopped=True)
    if any(part["quarantined"]["stopped"] for part in parts):
        logger.info("%s: there are more rows than expected, so the input is read again to its end", name)
        parts = read(StopRule(limit, math.inf), lambda _: False)
    return parts


def _estimate(source: TableInput, files: Sequence[FileInfo]) -> float:
    """About how many rows the files hold; infinite for a small input."""
    if sum(file.size for file in files) < _LEAST_BYTES:
        return math.inf
    try:
        return estimate_input(source, files)
    except InputError:
        return math.inf  # reading the file will say what is wrong with it
