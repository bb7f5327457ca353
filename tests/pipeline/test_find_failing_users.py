"""Halving the shards until the users who fail are alone, without workers."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError

from recsys.errors import ConfigError, EngineError, StorageError
from recsys.pipeline.lists.find_failing_users import UserRange, find_failing_users, require_of_users
from recsys.pipeline.workers.worker_failures import PartFailure, as_ours


class Workers:
    """Stands for the workers: a range fails if a bad user is in it; the chance failures fail once."""

    def __init__(self, bad: dict[str, set[int]], by_chance: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.bad, self.by_chance = bad, set(by_chance)
        self.rounds: list[list[str]] = []

    def __call__(self, names: Sequence[str], *, failures: list[PartFailure], max_retries: int) -> None:
        self.rounds.append(list(names))
        for name in names:
            place = UserRange.of(name)
            fails = bool(self.bad.get(place.shard, set()) & set(range(place.start, place.stop)))
            if fails or name in self.by_chance:
                self.by_chance.discard(name)
                failures.append(PartFailure(name, WorkerCrashedError(), 1 + max_retries))


@given(
    sizes=st.dictionaries(st.sampled_from(["a", "b:1", "c"]), st.integers(1, 200), min_size=1),
    bad=st.sets(st.integers(0, 199), max_size=4),
)
def test_exactly_the_users_who_fail_are_found(sizes: dict[str, int], bad: set[int]) -> None:
    expected = {shard: {row for row in bad if row < size} for shard, size in sizes.items()}
    workers = Workers(expected)
    found = find_failing_users(sizes, 12, workers)
    assert {shard: set(rows) for shard, rows in found.items()} == {
        shard: rows for shard, rows in expected.items() if rows
    }
    assert len(workers.rounds) <= 2 + max(sizes.values()).bit_length()
    assert all(len(names) <= 2 * max(12, len(sizes)) for names in workers.rounds)


def test_a_worker_that_dies_by_chance_makes_nobody_fail() -> None:
    assert find_failing_users({"a": 8}, 3, Workers({}, {"a:0-4", "a:2-4", "a:3-4"})) == {}


def test_more_users_than_may_fail_end_the_search_early() -> None:
    workers = Workers({"a": set(range(1000))})
    with pytest.raises(EngineError, match=r"at least 4 users .* 3 may; .*recommend\.max_failed_users"):
        find_failing_users({"a": 1000}, 3, workers)
    assert len(workers.rounds) == 2
    with pytest.raises(EngineError, match=r"at least 4 users"):
        find_failing_users({str(shard): 1 for shard in range(4)}, 3, Workers({str(shard): {0} for shard in range(4)}))


def raised(cause: Exception) -> RayTaskError:
    return RayTaskError("work", 'File "/shop/price.py", line 7, in price', cause)


def test_what_is_not_the_fault_of_a_user_is_raised() -> None:
    require_of_users([PartFailure("a", WorkerCrashedError()), PartFailure("b", raised(ValueError("no price")))])
    full = OSError(28, "No space left on device")
    cases: list[tuple[Exception, type[Exception], str]] = [
        (OutOfMemoryError("killed"), EngineError, "lower recommend.num_workers or recommend.batch_size"),
        (NodeDiedError("gone"), EngineError, "the machine of the worker was lost in each of 4 tries"),
        (raised(MemoryError("no memory")), EngineError, "MemoryError: no memory"),
        (raised(full), StorageError, "no space is left on a disk"),
        (raised(ConfigError("storage: no")), ConfigError, "storage: no"),
    ]
    for error, expected, words in cases:
        with pytest.raises(expected) as told:
            require_of_users([PartFailure("shard-00001", error, 4)])
        assert words in str(told.value)
        assert "\n" not in str(told.value)


def test_errors_of_ray_that_escape_a_stage_become_one_line() -> None:
    def line(error: Exception) -> str:
        found = as_ours("finetune", error)
        return f"{type(found).__name__}: {found}"

    assert line(raised(ValueError("no\nprice"))).startswith(
        "EngineError: finetune: ValueError: no (/shop/price.py:7); -v"
    )
    assert "train.num_workers or train.batch_size" in line(OutOfMemoryError("killed\nby the monitor"))
    assert line(OSError(28, "No space left on device")).startswith("StorageError: finetune: no space is left on a disk")
    assert as_ours("finetune", ValueError("a defect")) is None
    assert line(raised(ConfigError("ranker.model: no"))) == "ConfigError: ranker.model: no"
