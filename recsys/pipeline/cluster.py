"""Ray itself: joining or starting it, and running a pure function over parts of the work; it knows no stage."""

import json
import logging
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import joblib
import pyarrow as pa
import ray
import ray.data
from ray.util.annotations import RayDeprecationWarning

from recsys import errors
from recsys.pipeline.memory import peak_memory_mb, reset_peak_memory

logger = logging.getLogger(__name__)

PROGRESS_S = 10.0
#: Deaths of a worker process that are survived, for each part of the work: a part that kills every worker must fail.
MAX_RETRIES = 3


@contextmanager
def cluster(min_cpus: int) -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names (`ray job submit` sets it), else start Ray on this machine.

    Args:
        min_cpus: CPUs that the job's widest stage needs; a Ray of our own counts at least that many.
    """
    joined = ray.is_initialized()
    if not joined:
        _connect(min_cpus)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True  # the same rows in the same order, whatever worker is first
    context.execution_options.verbose_progress = False
    quiet_ray()
    try:
        yield
    finally:
        if not joined:
            ray.shutdown()


def quiet_ray() -> None:
    """Leave the progress lines to us; warnings and errors of Ray stay."""
    by_file = [name for name in logging.root.manager.loggerDict if "/ray/train/" in name]  # Ray Train's own naming
    for name in ("ray.data", "ray.train", *by_file):
        logging.getLogger(name).setLevel(logging.WARNING)


def _connect(min_cpus: int) -> None:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if os.environ.get("RAY_ADDRESS"):
        ray.init(logging_level=logging.WARNING)
    else:
        ray.init(address="local", num_cpus=max(machine_cpus(), min_cpus), logging_level=logging.WARNING)
    logger.info("Ray %s: %g CPUs, %g GPUs", ray.__version__, _total("CPU"), _total("GPU"))


def machine_cpus() -> int:
    """CPUs of this machine that this process may use, be it by affinity or by a container's quota."""
    return int(joblib.cpu_count())


def cpus_for_each(num_workers: int) -> int:
    """CPUs that each of so many workers can have at once, spread over the largest nodes of the cluster.

    One CPU of every node is left to what feeds them.
    """
    sizes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    largest = max(sizes)
    beside = -(-num_workers // sizes.count(largest))
    return max(1, (largest - 1) // beside)


#: Ray Data restarts a map actor for ever by default; 2.60 has no other place for this bound than the arguments that it
#: announces to drop.
_BOUNDED_ACTORS: dict[str, Any] = {"max_restarts": MAX_RETRIES, "max_task_retries": MAX_RETRIES}
_BOUNDED_TASKS: dict[str, Any] = {"max_retries": MAX_RETRIES}
warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", RayDeprecationWarning)

#: The work on one part.
Work = Callable[[str], dict[str, Any]]
#: Makes the work; called once in each worker, where it loads what all parts share.
Build = Callable[[], Work]

#: What this process works on: a name of the whole work, and its function. It is kept from part to part.
_ready: tuple[str, Work] | None = None


def _work_on(batch: pa.Table, name: str, build: Build) -> pa.Table:
    """One row in, one record out; errors of ours travel as rows, not as crashes that Ray would retry."""
    return pa.table(
        {"record": pa.array([json.dumps(_record(part, name, build)) for part in batch["part"].to_pylist()])}
    )


def _record(part: str, name: str, build: Build) -> dict[str, Any]:
    global _ready
    reset_peak_memory()
    try:
        if _ready is None or _ready[0] != name:
            _ready = None  # what the process loaded for other work makes room first
            _ready = name, build()
        record = _ready[1](part)
    except errors.RecsysError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return record | {"peak_memory_mb": peak_memory_mb()}


def for_each_part(
    parts: Sequence[str],
    build: Build,
    *,
    label: str,
    num_workers: int | None = None,
    cpus_per_worker: int = 1,
    gpus_per_worker: int = 0,
) -> list[dict[str, Any]]:
    """Run a function for each part in a pool of workers, and answer the records in the order of the parts.

    On CPUs the parts are tasks: their processes live on from stage to stage with the libraries that they imported,
    which costs seconds. On GPUs actors do them, since Ray ends the process of a GPU's task with the task.

    Args:
        parts: Names of the parts.
        build: Makes the function, once in each worker: it loads what all parts share.
        label: For the progress lines.
        num_workers: Most workers at a time; None: as many as the cluster has, or can start, CPUs for, or as many as it
            has GPUs for now, since those cost more to start than to wait for.
        cpus_per_worker: CPUs of a worker without a GPU: Ray Data calls both together experimental.
        gpus_per_worker: GPUs of a worker.

    Raises:
        RecsysError: the first that a part raised.
    """
    if not parts:
        return []
    work = partial(_work_on, name=f"{label} {uuid.uuid4().hex}", build=build)
    there = int(_total("GPU") // gpus_per_worker) if gpus_per_worker else len(parts)
    most = min(num_workers or max(there, 1), len(parts))
    dataset = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts))
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=most) if gpus_per_worker else ray.data.TaskPoolStrategy(most)
    # the settings travel in the class: constructor arguments would be lost to an actor that restarts after its owner
    worker: Any = type("Parts", (), {"__call__": staticmethod(work)}) if gpus_per_worker else work
    done = dataset.map_batches(
        worker,
        batch_size=1,
        batch_format="pyarrow",
        compute=pool,
        num_cpus=None if gpus_per_worker else cpus_per_worker,
        num_gpus=gpus_per_worker or None,
        **(_BOUNDED_ACTORS if gpus_per_worker else _BOUNDED_TASKS),
    )
    records: list[dict[str, Any]] = []
    reported = time.monotonic()
    for row in done.iter_rows():
        record = json.loads(row["record"])
        if "error" in record:
            raise getattr(errors, record["error"])(record["message"])
        records.append(record)
        if time.monotonic() - reported > PROGRESS_S:
            reported = time.monotonic()
            logger.info("%s: %d of %d parts", label, len(records), len(parts))
    return records


def peak_of(records: Sequence[dict[str, Any]]) -> float:
    """Largest peak memory of any worker, MB."""
    return max((record["peak_memory_mb"] for record in records), default=0.0)


def _total(resource: str) -> float:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources.get(resource, 0.0)
