"""Loads the newest published run, and replaces the loaded one in one step. A run that cannot be loaded is left out."""

import datetime as dt
import logging
from collections.abc import Callable

from recsys.serving.contracts import HistoryEvent, RecommendationRequest
from recsys.serving.live_snapshot import LiveSnapshot
from recsys.storage.filesystem import Storage
from recsys.storage.latest import Latest, read_latest, require_latest

logger = logging.getLogger(__name__)

Load = Callable[[Storage, Latest], LiveSnapshot]

#: A run that cannot be loaded is tried again at the second, fourth and eighth look, and then at each of so many.
_LOOKS_APART = 16


class SnapshotReloader:
    """The loaded snapshot, and the reason why no newer one is loaded."""

    def __init__(self, storage: Storage, load: Load):
        """Load nothing yet. ``load`` makes a snapshot of a published run, or raises."""
        self._storage, self._load = storage, load
        self.current: LiveSnapshot | None = None
        """None until a run is loaded. A reply that has begun keeps the snapshot that it began with."""
        self.error: str | None = None
        """Why the newest run could not be loaded; None where it is loaded, or where nothing is published."""
        self.num_failures = 0
        """Failed attempts to load the newest run, in a row: 0 as soon as it is loaded."""
        self._looked_at: Latest | None = None
        self._looks = 0

    def refresh(self) -> bool:
        """Look for a newer run and load it; returns whether a newer run was loaded.

        After any error the old snapshot stays: a run that is being written, moved or repaired must not stop the
        service. Loading costs as much as at a start, so a run that cannot be loaded is tried ever more rarely.
        """
        latest = None
        try:
            # once a run is loaded, a pointer that is missing is a fault
            latest = read_latest(self._storage) if self.current is None else require_latest(self._storage)
            if latest is None or (self.current is not None and _is_same(latest, self.current.latest)):
                self._succeeded()
                return False
            if not self._is_due(latest):
                return False
            loaded = self._load(self._storage, latest)
            _try_out(loaded)
        except Exception as error:  # noqa: BLE001 (after any error the old snapshot goes on answering)
            if latest is None:  # its error replaces that of the run, which is therefore tried at the next look
                self._looked_at = None
            self.num_failures += 1
            before, self.error = self.error, f"{type(error).__name__}: {error}"
            if self.error != before:
                logger.warning("the newest published run cannot be loaded: %s", self.error)
            return False
        self._succeeded()  # before the swap: other threads may look while the old snapshot is being freed
        self.current = loaded
        logger.info("loaded run %s, published %s", latest.run_id, latest.published_at)
        return True

    def _is_due(self, latest: Latest) -> bool:
        """Whether to try a run at this look at it: the first, second, fourth, eighth, then each `_LOOKS_APART`-th."""
        if latest != self._looked_at:  # also where a repaired run was published again
            self._looked_at, self._looks = latest, 0
        self._looks += 1
        largest_power_of_two = 1 << (self._looks.bit_length() - 1)
        return self._looks % min(largest_power_of_two, _LOOKS_APART) == 0

    def _succeeded(self) -> None:
        self.error, self.num_failures, self._looked_at = None, 0, None


def _try_out(snapshot: LiveSnapshot) -> None:
    """Answer one request, so that a broken snapshot raises here, and code that compiles at its first use is ready."""
    item = snapshot.ranker.example_item()
    history = [] if item is None else [HistoryEvent(item_id=item)]
    snapshot.answer([RecommendationRequest(history=history)], dt.datetime.now(dt.UTC))


def _is_same(latest: Latest, loaded: Latest) -> bool:
    return (latest.run_id, latest.manifest_sha256) == (loaded.run_id, loaded.manifest_sha256)
