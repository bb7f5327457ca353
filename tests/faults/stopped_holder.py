"""The process that holds the night is stopped until its lease expires, replaced by another, and continued."""

import signal
from dataclasses import dataclass
from random import Random

from recsys.storage.lease import lock
from tests.faults.checks import check_output, check_published
from tests.faults.findings import LostError
from tests.faults.shop import Shop
from tests.faults.started_twice import APART_S, LOCKED

#: Seconds without a heartbeat after which a holder counts as dead here.
DEAD_AFTER_S = 2.0


@dataclass
class ShortLease:
    """In a new process: a lease expires after seconds instead of a minute."""

    def __call__(self) -> None:
        lock.__wrapped__.__kwdefaults__.update(heartbeat_s=DEAD_AFTER_S / 10, dead_after_s=DEAD_AFTER_S)


def replace_stopped_holder(shop: Shop, number: int) -> None:
    """SIGSTOP at a random moment; another start takes over; SIGCONT at another random moment."""
    random = Random(number)  # noqa: S311
    attempt = shop.attempt("stopped", shop.night_before)
    first = attempt.inline(setups=[ShortLease()])
    while not (first.has_begun("catalog") or not first.process.is_alive()):
        first.process.join(0.01)
    first.process.join(random.uniform(0.0, APART_S / 2))
    assert first.process.is_alive(), "the night ended before it was stopped"
    first.send(signal.SIGSTOP)
    first.process.join(1.2 * DEAD_AFTER_S)
    second = attempt.inline(setups=[ShortLease()])
    second.process.join(random.uniform(0.0, 2 * APART_S))
    first.send(signal.SIGCONT)
    for night in (first, second):
        check_output(night, 0, LOCKED)
    if second.wait() != 0:
        raise LostError(f"{attempt.root}: the start that took over ended with {second.wait()}: {second.said[-2000:]}")
    check_published(attempt.root, expected=shop.expected)
