"""How many CPUs the stages take by default, and the work on the parts of a stage."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import pytest
import ray

from recsys.errors import EngineError, InputError
from recsys.pipeline.lists.find_failing_users import UserRange, find_failing_users
from recsys.pipeline.workers.cluster import ROWS_PER_WORKER, _connect, cpus_for_each, for_each_part, peak_of
from recsys.pipeline.workers.cpu_needs import min_cpus
from recsys.pipeline.workers.worker_failures import MAX_RETRIES, PartFailure
from recsys.pipeline.workers.worker_pools import by_actors
from recsys.settings import decode_config
from tests.conftest import tiny_config


def nodes(*cpus: float, dead: float | None = None) -> list[dict[str, Any]]:
    """As `ray.nodes` answers them."""
    alive = [{"Alive": True, "Resources": {"CPU": number} if number else {}} for number in cpus]
    return alive if dead is None else [*alive, {"Alive": False, "Resources": {"CPU": dead}}]


@pytest.mark.parametrize(
    ("cluster", "num_workers", "expected"),
    [
        (nodes(16.0), 1, 15),
        (nodes(16.0), 2, 7),
        (nodes(16.0, 16.0, 4.0), 2, 15),
        (nodes(16.0, 16.0), 3, 7),
        (nodes(2.0), 4, 1),
        (nodes(1.0), 1, 1),
        (nodes(0.0), 1, 1),  # a head that only starts others
        (nodes(4.0, dead=64.0), 1, 3),
    ],
)
def test_training_workers_share_the_largest_nodes(
    monkeypatch: pytest.MonkeyPatch, cluster: list[dict[str, Any]], num_workers: int, expected: int
) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: cluster)
    assert cpus_for_each(num_workers) == expected


class Starts:
    """Stands for `ray.init`: the first starts end as they do on a machine whose CPUs are taken."""

    def __init__(self, num_failures: int) -> None:
        self.num_failures = num_failures
        self.options: list[dict[str, Any]] = []

    def __call__(self, **options: Any) -> None:
        self.options.append(options)
        if len(self.options) <= self.num_failures:
            raise Exception("The current node timed out during startup.\nMore of Ray's words")  # noqa: TRY002 (as Ray)


@pytest.mark.parametrize("address", [None, "10.0.0.1:6379"])
def test_a_start_of_ray_that_times_out_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str | None
) -> None:
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray, "init", once := Starts(1))
    _connect(min_cpus=1)
    assert len(once.options) == 2
    assert once.options[0] == once.options[1]
    assert ("address" in once.options[0]) == (address is None)
    assert "Ray did not start (Exception: The current node timed out during startup.): it is tried again" in caplog.text
    monkeypatch.setattr(ray, "init", Starts(2))
    with pytest.raises(EngineError) as raised:
        _connect(min_cpus=1)
    assert raised.value.exit_code == 1
    assert "\n" not in str(raised.value)
    for words in (address, "RAY_AUTH_MODE=token") if address else ("stop other work on it",):
        assert words in str(raised.value)


def test_a_cluster_that_runs_has_room_for_the_workers(ray_cluster: None) -> None:
    total = ray.cluster_resources()["CPU"]
    for num_workers in (1, 2, 3):
        assert 1 <= cpus_for_each(num_workers) * num_workers <= max(total - 1, num_workers)


@pytest.mark.parametrize(
    ("train", "recommend", "expected"),
    [
        ({}, {}, 5),  # four to train with and one to feed them
        ({"num_workers": 3}, {}, 4),
        ({"cpus_per_worker": 2}, {}, 3),
        ({"use_gpu": True}, {}, 2),
        ({"use_gpu": True}, {"num_workers": 3, "cpus_per_worker": 2}, 6),
    ],
)
def test_a_night_asks_for_what_its_widest_stage_needs(
    tmp_path: Path,
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    train: dict[str, Any],
    recommend: dict[str, Any],
    expected: int,
) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    training = {"cpus_per_worker": None, "batch_size": 30} | train
    config = decode_config(tiny_config(shop, tmp_path, train=training, recommend=recommend))
    assert min_cpus(config) == expected


def work_of(log: Path, fails: str = "", dies: str = "") -> Callable[[], Callable[[str], dict[str, Any]]]:
    """Makes work that appends the part it begins to a file; one part may fail, one may end its worker."""

    def build() -> Callable[[str], dict[str, Any]]:
        built = os.urandom(4).hex()

        def work(part: str) -> dict[str, Any]:
            with log.open("a") as stream:
                stream.write(f"{part}\n")
            if part == fails:
                raise InputError(f"part {part} is bad")
            if part == dies:
                os._exit(1)
            return {"part": part, "process": os.getpid(), "built": built}

        return work

    return build


PARTS = [f"part-{number}" for number in range(12)]


def test_records_come_in_the_order_of_the_parts(ray_cluster: None, tmp_path: Path) -> None:
    records = for_each_part(PARTS, work_of(tmp_path / "log"), label="parts")
    assert [record["part"] for record in records] == PARTS
    assert peak_of(records) > 10
    assert sorted((tmp_path / "log").read_text().split()) == sorted(PARTS)
    built = {(record["process"], record["built"]) for record in records}
    assert len(built) == len({process for process, _ in built}), "a worker builds once, whatever number of parts"


def test_no_part_no_work(ray_cluster: None, tmp_path: Path) -> None:
    assert for_each_part([], work_of(tmp_path / "log"), label="parts") == []
    assert not (tmp_path / "log").exists()


def test_one_worker_takes_one_part_after_the_other(ray_cluster: None, tmp_path: Path) -> None:
    for_each_part(PARTS, work_of(tmp_path / "log"), label="parts", num_workers=1)
    assert (tmp_path / "log").read_text().split() == PARTS


def test_a_second_worker_starts_only_for_enough_rows(ray_cluster: None, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for_each_part(PARTS, work_of(log), label="parts", rows=ROWS_PER_WORKER)
    assert log.read_text().split() == PARTS
    meeting = [
        for_each_part(["a", "b"], partial(meet, tmp_path / name), label="parts", **given) for name, given in MANY
    ]
    assert [[record["met"] for record in records] for records in meeting] == [[True, True]] * len(MANY)


#: Settings with which two parts are done at the same time.
MANY: list[tuple[str, dict[str, int]]] = [
    ("by rows", {"rows": ROWS_PER_WORKER + 1}),
    ("by default", {}),
    ("by number", {"rows": 1, "num_workers": 2}),
]


def meet(folder: Path) -> Callable[[str], dict[str, Any]]:
    """Makes work in which each of the parts a and b waits until the other has begun."""

    def work(part: str) -> dict[str, Any]:
        folder.mkdir(exist_ok=True)
        (folder / part).touch()
        other, until = folder / {"a": "b", "b": "a"}[part], time.monotonic() + 60
        while not other.exists() and time.monotonic() < until:
            os.sched_yield()
        return {"met": other.exists()}

    return work


def test_an_error_of_a_part_is_raised_and_ends_the_work(ray_cluster: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^part part-3 is bad$"):
        for_each_part(PARTS, work_of(tmp_path / "log", fails="part-3"), label="parts", num_workers=1)
    assert (tmp_path / "log").read_text().split() == PARTS[:4]


def test_a_part_that_ends_every_worker_is_tried_a_few_times(ray_cluster: None, tmp_path: Path) -> None:
    names = {"part-3": "events/2026.csv"}
    with pytest.raises(EngineError, match=r"^parts: events/2026\.csv: the worker died in each of 4 tries; the log of"):
        for_each_part(PARTS, work_of(tmp_path / "log", dies="part-3"), label="parts", num_workers=1, names=names)
    assert (tmp_path / "log").read_text().split() == PARTS[:3] + ["part-3"] * (1 + MAX_RETRIES)


def test_an_unexpected_error_names_its_part_and_its_place(ray_cluster: None, tmp_path: Path) -> None:
    def build() -> Callable[[str], dict[str, Any]]:
        return lambda part: {"rows": 1 // (part != "part-3")}

    with pytest.raises(EngineError, match=r"^parts: part-3: ZeroDivisionError: .*\(.*test_cluster\.py:\d+\); -v shows"):
        for_each_part(PARTS, build, label="parts", num_workers=1)


def test_the_parts_beside_those_that_fail_are_done(ray_cluster: None, tmp_path: Path) -> None:
    failures: list[PartFailure] = []
    records = for_each_part(
        PARTS, work_of(tmp_path / "log", dies="part-3"), label="parts", failures=failures, max_retries=0
    )
    assert [record["part"] for record in records] == [part for part in PARTS if part != "part-3"]
    assert [(failure.part, failure.kind, failure.tries) for failure in failures] == [("part-3", "worker_died", 1)]


def test_a_pool_of_actors_replaces_the_dead(ray_cluster: None, tmp_path: Path) -> None:
    work = work_of(tmp_path / "log", dies="part-3")()
    done = dict(filter(None, by_actors(PARTS, work, 2, label="parts", gpus=0, max_retries=1)))
    failed = done.pop(3)
    assert isinstance(failed, PartFailure)
    assert (failed.part, failed.kind, failed.tries) == ("part-3", "worker_died", 2)
    assert sorted(done) == [place for place in range(len(PARTS)) if place != 3]
    assert len({record["process"] for record in done.values() if isinstance(record, dict)}) <= 4


def test_users_that_end_the_worker_are_found(ray_cluster: None) -> None:
    """Real workers die: the parts are ranges of two shards, of 20 and 9 users."""

    def build() -> Callable[[str], dict[str, Any]]:
        def work(name: str) -> dict[str, Any]:
            place = UserRange.of(name)
            if place.shard == "shard-1" and place.start <= 13 < place.stop:
                os._exit(1)
            if place.shard == "shard-2" and place.start <= 0 < place.stop:
                raise ValueError("no price")
            return {"rows": 1}

        return work

    run_parts = partial(for_each_part, build=build, label="recommend")
    found = find_failing_users({"shard-1": 20, "shard-2": 9}, 2, run_parts)
    kinds = {shard: {row: str(failure.kind) for row, failure in rows.items()} for shard, rows in found.items()}
    assert kinds == {"shard-1": {13: "worker_died"}, "shard-2": {0: "raised"}}
