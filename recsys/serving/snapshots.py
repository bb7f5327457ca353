"""The newest published night that could be loaded: swapped in one step, kept where a newer one is broken.

It knows how a snapshot is found and loaded, neither who asks nor any server.
"""

import datetime as dt
import logging
from collections.abc import Callable

import pyarrow as pa

from recsys.serving.contracts import HistoryEvent, RecommendationRequest
from recsys.serving.live import LiveSnapshot
from recsys.storage.filesystem import Storage
from recsys.storage.publish import Latest, read_latest

logger = logging.getLogger(__name__)

Load = Callable[[Storage, Latest], LiveSnapshot]


class Snapshots:
    """The snapshot that answers, and why there is no newer one."""

    def __init__(self, storage: Storage, load: Load):
        """Nothing is loaded yet; ``load`` makes a snapshot of what a pointer names, or raises."""
        self._storage, self._load = storage, load
        self.current: LiveSnapshot | None = None
        """None until a night is loaded; replies in the making keep the one that they began with."""
        self.fault: str | None = None
        """Why the newest night could not be loaded; None where it was, or where nothing is published."""
        self.num_failures = 0
        """Nights, or attempts at one, that could not be loaded."""

    def refresh(self) -> bool:
        """Look for a newer night and load it; answers whether there is one now.

        Whatever is wrong with it, the one that answered before goes on to answer: a night that is being written, moved
        or repaired must not stop the service.
        """
        try:
            latest = read_latest(self._storage)
            if latest is None or (self.current is not None and _same(latest, self.current.latest)):
                self.fault = None
                return False
            loaded = self._load(self._storage, latest)
            _try_out(loaded)
        except Exception as error:  # noqa: BLE001 (whatever it is, the night that answers goes on)
            self.num_failures += 1
            told, self.fault = self.fault, f"{type(error).__name__}: {error}"
            if self.fault != told:
                logger.warning("the newest night cannot be loaded: %s", self.fault)
            return False
        self.fault = None  # before the swap: while the old night is freed, other threads see what is set so far
        self.current = loaded
        logger.info("answers from %s, published %s", latest.run_id, latest.published_at)
        return True


def _try_out(live: LiveSnapshot) -> None:
    """Answer once: what cannot is not swapped in, and what is compiled at its first use is so before anybody waits."""
    items = live.snapshot.item_ids.filter(pa.array(live.snapshot.recommendable)).slice(0, 1).to_pylist()
    live.answer(
        [RecommendationRequest(history=[HistoryEvent(item_id=item) for item in items])], dt.datetime.now(dt.UTC)
    )


def _same(latest: Latest, loaded: Latest) -> bool:
    return (latest.run_id, latest.manifest_sha256) == (loaded.run_id, loaded.manifest_sha256)
