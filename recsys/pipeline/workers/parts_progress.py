"""How many parts of a stage are done, and what their workers warn of."""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from recsys.pipeline.stage_progress import StepProgress, tell
from recsys.pipeline.workers.worker_logs import Line, log_lines

logger = logging.getLogger(__name__)

#: Seconds between two records.
INTERVAL_S = 1.0


class PartsProgress:
    """Tells how many parts are done, and logs what several workers warn of only once."""

    def __init__(self, label: str, num_parts: int) -> None:
        self._label, self._num_parts = label, num_parts
        self._start = self._told = time.monotonic()
        self._logged: set[Line] = set()

    def tell(self, records: Mapping[int, Mapping[str, Any]]) -> None:
        """Tell how many parts have a record, unless it was told a moment ago."""
        now = time.monotonic()
        if now - self._told < INTERVAL_S:
            return
        self._told = now
        rows = sum(record.get("rows", 0) for record in records.values())
        progress = StepProgress(
            step=self._label,
            share=len(records) / self._num_parts,
            seconds=now - self._start,
            place=f"{len(records):,} of {self._num_parts:,} parts",
            rows_per_s=rows / (now - self._start) if rows else None,
        )
        tell(logger, progress)

    def log_once(self, lines: Iterable[Iterable[Any]]) -> None:
        """Log those lines that no earlier part logged; those of actors come as JSON arrays."""
        new = dict.fromkeys(Line(*line) for line in lines)
        log_lines(line for line in new if line not in self._logged)
        self._logged.update(new)
