"""Which users end the worker that makes their lists, or make it fail: their shard is halved until they are alone."""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from recsys.errors import EngineError, RecsysError
from recsys.pipeline.workers.worker_failures import GOES_ON, FailureKind, PartFailure

logger = logging.getLogger(__name__)

#: Why a user of a shard fails, by the user's row in the shard.
FailingUsers = dict[int, PartFailure]
#: Runs work over parts and appends the failures: `for_each_part` with all its arguments but the parts.
RunParts = Callable[..., Any]

#: A single user is tried so often again before the user counts as failing: a worker may die by chance.
_RETRIES_OF_ONE = 1


class UserRange(NamedTuple):
    """Some users of a shard, one after the other."""

    shard: str
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Its name as a part of work."""
        return f"{self.shard}:{self.start}-{self.stop}"

    @classmethod
    def of(cls, name: str) -> "UserRange":
        """The range of this name."""
        shard, _, rows = name.rpartition(":")
        start, _, stop = rows.partition("-")
        return cls(shard, int(start), int(stop))

    def halves(self) -> list["UserRange"]:
        """Two ranges, or itself if it has one user."""
        middle = (self.start + self.stop) // 2
        pair = self._replace(stop=middle), self._replace(start=middle)
        return [half for half in pair if half.start < half.stop]


def find_failing_users(num_users: Mapping[str, int], most: int, run_parts: RunParts) -> dict[str, FailingUsers]:
    """The users by whom shards fail, by shard. A shard of which every user can be done has none.

    Each round halves the ranges that fail, so a shard of n users needs about log2(n) rounds. A round has at most twice
    as many ranges as users may fail.

    Args:
        num_users: Number of users of each failing shard.
        most: Number of users that may fail.
        run_parts: Called with a list of names of ranges, and with `failures` and `max_retries` as `for_each_part`.

    Raises:
        EngineError: more users fail.
    """
    found: dict[str, FailingUsers] = defaultdict(dict)
    ranges = [UserRange(shard, 0, num) for shard, num in num_users.items()]
    while wide := [each for each in ranges if each.stop - each.start > 1]:
        single = [each for each in ranges if each.stop - each.start == 1]
        failures = _failures(run_parts, [half for each in wide for half in each.halves()], 0)
        ranges = single + [UserRange.of(failure.part) for failure in failures]
        if len(ranges) > most:
            raise _too_many(len(ranges), most, failures[-1])
        logger.debug("recommend: users that fail are among %s", ", ".join(each.name for each in ranges) or "none")
    confirmed = _failures(run_parts, ranges, _RETRIES_OF_ONE)
    if len(confirmed) > most:
        raise _too_many(len(confirmed), most, confirmed[-1])
    for failure in confirmed:
        place = UserRange.of(failure.part)
        found[place.shard][place.start] = failure
    return dict(found)


def _failures(run_parts: RunParts, ranges: Sequence[UserRange], max_retries: int) -> list[PartFailure]:
    """What fails among the ranges.

    Raises:
        RecsysError: a part failed in a way that has nothing to do with its users.
    """
    failures: list[PartFailure] = []
    if ranges:
        run_parts([each.name for each in ranges], failures=failures, max_retries=max_retries)
    return require_of_users(failures)


def require_of_users(failures: list[PartFailure]) -> list[PartFailure]:
    """The failures, if users may be the cause of all of them.

    Raises:
        RecsysError: one comes from the machines or from the storage.
    """
    for failure in failures:
        of_code = failure.kind == FailureKind.RAISED and not isinstance(
            failure.cause, OSError | MemoryError | RecsysError
        )
        if not of_code and failure.kind != FailureKind.WORKER_DIED:
            raise failure.as_error("recommend", failure.part) from failure.error
    return failures


def _too_many(num: int, most: int, failure: PartFailure) -> EngineError:
    return EngineError(
        f"recommend: at least {num} users end their worker or make it fail, and {most} may; one of them is in "
        f"{failure.part} ({failure.words}); mend what they share, such as a plugin or too little memory (lower "
        "recommend.num_workers or recommend.batch_size), or raise recommend.max_failed_users (1 % of the users may "
        f"fail, but always one), {GOES_ON}"
    )
