"""Ray: joining or starting a cluster, and running a function over the parts of a stage's work."""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import joblib
import ray
import ray.data

from recsys import errors
from recsys.pipeline.workers.cpu_time import add_worker_cpu, cpu_since_report
from recsys.pipeline.workers.job_metrics import job_metrics
from recsys.pipeline.workers.memory import peak_memory_mb, reset_peak_memory
from recsys.pipeline.workers.parts_progress import PartsProgress
from recsys.pipeline.workers.quiet_engine import quiet_engine, shows_engine
from recsys.pipeline.workers.worker_failures import MAX_RETRIES, PartFailure
from recsys.pipeline.workers.worker_logs import CollectedLines, collected
from recsys.pipeline.workers.worker_pools import Answer, Finished, Work, by_actors, by_tasks
from recsys.storage.lease import HEARTBEAT_S, check_held

logger = logging.getLogger(__name__)

#: Tasks that wait for a CPU at most. More would only cost memory of the driver.
MAX_WAITING = 1000
#: Threads of torch that wait for each other spin for some microseconds, then sleep. By default they spin long: beside
#: other work on the same cores a training step then took more than ten times as long. Without any spinning, the steps
#: of a small training take 1.5 times as long on a quiet machine. It must be set before a process loads torch.
PASSIVE_WAIT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "500"}
#: Ray starts a task that was ended for its memory again without a limit. This is for the tasks of Ray's libraries.
_BOUNDED_RETRIES = {"RAY_task_oom_retries": str(MAX_RETRIES)}
#: Events for which one more worker is worth its start: it imports the libraries and loads the model in about 5 s.
ROWS_PER_WORKER = 100_000


@contextmanager
def cluster(min_cpus: int) -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names (`ray job submit` sets it), else start Ray on this machine.

    Args:
        min_cpus: CPUs that the job's widest stage needs; a Ray of our own counts at least that many.
    """
    joined = ray.is_initialized()
    quiet_engine()
    if not joined:
        _connect(min_cpus)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True  # the order of rows must not depend on which worker is first
    context.execution_options.verbose_progress = False
    try:
        with job_metrics():
            yield
    finally:
        if not joined:
            ray.shutdown()


def _connect(min_cpus: int) -> None:
    for name, value in {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", **PASSIVE_WAIT, **_BOUNDED_RETRIES}.items():
        os.environ.setdefault(name, value)  # the processes of a Ray that is started here inherit them
    if address := os.environ.get("RAY_ADDRESS"):
        _init(
            f"the Ray of RAY_ADDRESS={address} does not answer; start it, set RAY_AUTH_MODE=token if it asks for a "
            "token, or unset RAY_ADDRESS to use this machine"
        )
    else:
        cpus = max(machine_cpus(), min_cpus)
        way_out = (
            f"Ray does not start on this machine ({cpus} CPUs, load {os.getloadavg()[0]:.0f}); stop other work on it "
            "and start the command again, which continues where it ended, or name a Ray that runs by RAY_ADDRESS"
        )
        # the dashboard would take a second of the start; a cluster that is joined has one
        _init(way_out, address="local", num_cpus=cpus, include_dashboard=False)
    logger.info("Ray %s: %g CPUs, %g GPUs", ray.__version__, _total("CPU"), _total("GPU"))


def _init(way_out: str, **options: Any) -> None:
    """Start or join Ray; on a busy machine its processes may not answer in time, so it is tried twice.

    Raises:
        EngineError: both attempts failed.
    """
    for last in (False, True):
        try:
            # what workers print stays in Ray's logs: their lines that are for people come as values, see `worker_logs`
            ray.init(logging_level=logging.WARNING, log_to_driver=shows_engine(), **options)
        except Exception as error:  # Ray raises a bare Exception where its own start times out
            ray.shutdown()
            why = errors.one_line(error)
            if last:
                raise errors.EngineError(f"{way_out} ({why})") from error
            logger.warning("Ray did not start (%s): it is tried again", why)
        else:
            return


def machine_cpus() -> int:
    """CPUs of this machine that this process may use: affinity and the quota of a container limit them."""
    return int(joblib.cpu_count())


def cpus_for_each(num_workers: int) -> int:
    """CPUs of each worker, if so many workers are spread over the largest nodes of the cluster.

    One CPU of every node is left for the tasks that read the workers' data.
    """
    sizes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    largest = max(sizes)
    beside = -(-num_workers // sizes.count(largest))
    return max(1, (largest - 1) // beside)


#: Makes the work on a part. Each worker calls it once and loads there what all parts share.
Build = Callable[[], Work]

#: Key of a worker's CPU seconds in its record, on the way to the driver.
_CPU = "cpu_s"

#: The work that this process has loaded: a name that no other call of `for_each_part` has, and the function.
_ready: tuple[str, Work] | None = None


def _do_part(part: str, name: str, build: Build) -> Answer:
    """The record of one part, with its warnings as `logged`. Our errors are records too: Ray would wrap them."""
    global _ready
    reset_peak_memory()
    log = CollectedLines(logging.WARNING)
    try:
        with collected(log):
            if _ready is None or _ready[0] != name:
                _ready = None  # frees what the process loaded for other work before it loads more
                _ready = name, build()
            record = _ready[1](part)
    except errors.RecsysError as error:
        return {"error": type(error).__name__, "message": str(error), "details": error.details, "logged": log.lines}
    return record | {"peak_memory_mb": peak_memory_mb(), _CPU: cpu_since_report(), "logged": log.lines}


def workers_for(rows: int) -> int:
    """Workers that are worth their start for this many events."""
    return max(1, -(-rows // ROWS_PER_WORKER))


def for_each_part(
    parts: Sequence[str],
    build: Build,
    *,
    label: str,
    rows: int | None = None,
    num_workers: int | None = None,
    cpus_per_worker: int = 1,
    gpus_per_worker: int = 0,
    until: Callable[[Answer], bool] | None = None,
    names: Mapping[str, str] | None = None,
    failures: list[PartFailure] | None = None,
    max_retries: int = MAX_RETRIES,
) -> list[Answer]:
    """Run a function for each part on the workers of the cluster; return the records in the order of the parts.

    On CPUs each part is a plain Ray task, on GPUs the parts go to actors, see `worker_pools`.

    Args:
        parts: Names of the parts.
        build: Makes the function. It is called once in each worker and loads what all parts share.
        label: Name of the work in progress lines.
        rows: Events of all parts together. Without `num_workers`, they are done by one worker for each
            `ROWS_PER_WORKER`, since a small amount of work takes less time than the start of a second worker.
        num_workers: Largest number of parts at a time. None: as many as `rows` asks for. On CPUs there is no other
            limit, so that a cluster which can start nodes sees the whole demand (at most `MAX_WAITING` tasks); on GPUs,
            as many as the cluster has now.
        cpus_per_worker: CPUs of a worker without a GPU. Ray Data does not take both.
        gpus_per_worker: GPUs of a worker.
        until: Asked for each record as it comes. Where it is true, the parts that still run are cancelled, and only the
            records so far are returned.
        names: What the parts are, for people, such as paths of files; None: the parts' own names say it.
        failures: Takes the parts that end without a record in each try, and the others go on; None: the first of them
            is raised.
        max_retries: How often a part is tried again after its worker died.

    Raises:
        RecsysError: the first that a part raised. The parts that still run are cancelled.
        EngineError: a part ended its worker in each try, or raised an unexpected error.
        LockedError: another process took the run over; likewise.
    """
    if not parts:
        return []
    work = partial(_do_part, name=f"{label} {uuid.uuid4().hex}", build=build)
    enough = len(parts) if rows is None else workers_for(rows)
    if gpus_per_worker:
        most = num_workers or min(enough, max(int(_total("GPU") // gpus_per_worker), 1))
        most = min(most, len(parts))
        finished = by_actors(parts, work, most, label=label, gpus=gpus_per_worker, max_retries=max_retries)
    else:
        most = num_workers or min(enough, MAX_WAITING)
        finished = by_tasks(parts, work, most, label=label, cpus=cpus_per_worker, max_retries=max_retries)
    with closing(finished):
        return _collected(finished, label, parts, until, names or {}, failures)


def _collected(
    finished: Finished,
    label: str,
    parts: Sequence[str],
    until: Callable[[Answer], bool] | None,
    names: Mapping[str, str],
    failures: list[PartFailure] | None,
) -> list[Answer]:
    """The records in the order of the parts, as they come; other arguments as in `for_each_part`."""
    records: dict[int, Answer] = {}
    progress, checked = PartsProgress(label, len(parts)), time.monotonic()
    for each in finished:
        if time.monotonic() - checked > HEARTBEAT_S:
            checked = time.monotonic()
            check_held()
        progress.tell(records)
        if each is None:
            continue
        place, record = each
        if isinstance(record, PartFailure):
            if failures is None:
                raise record.as_error(label, names.get(record.part, record.part)) from record.error
            failures.append(record)
            continue
        progress.log_once(record.pop("logged"))
        if "error" in record:
            raise getattr(errors, record["error"])(record["message"], record["details"])
        add_worker_cpu(record.pop(_CPU))
        records[place] = record
        if until is not None and until(record):
            break
    return [records[place] for place in sorted(records)]


def peak_of(records: Sequence[Answer]) -> float:
    """Largest peak memory of any worker, MB."""
    return max((record["peak_memory_mb"] for record in records), default=0.0)


def _total(resource: str) -> float:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources.get(resource, 0.0)
