"""Handing the parts of a stage's work to Ray's workers: tasks on CPUs, actors on GPUs. Dead workers are replaced.

Ray's own retries are off: it restarts map actors without a limit, and tasks that were ended for their memory too.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from recsys.pipeline.workers.parts_progress import INTERVAL_S
from recsys.pipeline.workers.worker_failures import MAX_RETRIES, FailureKind, PartFailure

logger = logging.getLogger(__name__)

#: What a worker answers for a part.
Answer = dict[str, Any]
#: Does a part.
Work = Callable[[str], Answer]
#: (place among the parts, what came of it) as the parts finish; None where for a moment none has finished.
Finished = Generator[tuple[int, Answer | PartFailure] | None, None, None]


class _Parts:
    """The parts that wait, and how often each was tried."""

    def __init__(self, label: str, parts: Sequence[str], max_retries: int) -> None:
        self.waiting = deque(enumerate(parts))
        self._label, self._parts, self._max_retries = label, parts, max_retries
        self._failures: Counter[int] = Counter()

    def fails(self, place: int, error: RayError) -> PartFailure | None:
        """Let a part wait for its next try; a failure where no further try makes sense."""
        self._failures[place] += 1
        failure = PartFailure(self._parts[place], error, self._failures[place])
        if not failure.kind.may_pass or failure.tries > self._max_retries:
            return failure
        logger.warning("%s: %s: %s; it is tried again", self._label, failure.part, failure.words)
        if failure.kind == FailureKind.OUT_OF_MEMORY:
            self.waiting.append((place, failure.part))  # last, when fewer parts run beside it
        else:
            self.waiting.appendleft((place, failure.part))
        return None


def by_tasks(parts: Sequence[str], work: Work, most: int, *, label: str, cpus: int, max_retries: int) -> Finished:
    """Run a task for each part, at most so many at a time. Closing the generator cancels what still runs.

    Ray keeps the processes of finished tasks, so the next stage finds workers that have imported the libraries already.
    """
    task = ray.remote(_call).options(name=label, num_cpus=cpus, max_retries=0)
    shared = ray.put(work)
    left = _Parts(label, parts, max_retries)
    running: dict[ray.ObjectRef[Any], int] = {}
    try:
        while left.waiting or running:
            while left.waiting and len(running) < most:
                place, part = left.waiting.popleft()
                running[task.remote(shared, part)] = place
            done, _ = ray.wait(list(running), num_returns=1, timeout=INTERVAL_S)
            if not done:
                yield None
            for ref in done:
                place = running.pop(ref)
                outcome = _outcome(ref)
                if isinstance(outcome, RayError):
                    if (failure := left.fails(place, outcome)) is not None:
                        yield place, failure
                else:
                    yield place, outcome
    finally:
        for ref in running:
            ray.cancel(ref)


def by_actors(parts: Sequence[str], work: Work, most: int, *, label: str, gpus: int, max_retries: int) -> Finished:
    """Run the parts in a pool of so many actors that have GPUs: Ray ends the process of a GPU task with the task."""
    actor_class: Any = ray.remote(_Worker).options(num_gpus=gpus, num_cpus=0, max_restarts=0, max_task_retries=0)
    shared = ray.put(work)
    left = _Parts(label, parts, max_retries)
    idle: list[Any] = []
    #: What runs: the actor, and the place of the part; None: the actor starts.
    running: dict[ray.ObjectRef[Any], tuple[Any, int | None]] = {}
    num_working = 0

    def start() -> None:
        actor: Any = actor_class.remote()
        running[actor.start.remote()] = actor, None

    try:
        for _ in range(most):
            start()
        while left.waiting or num_working:
            while left.waiting and idle:
                place, part = left.waiting.popleft()
                actor = idle.pop()
                running[actor.call.remote(shared, part)] = actor, place
                num_working += 1
            done, _ = ray.wait(list(running), num_returns=1, timeout=INTERVAL_S)
            if not done:
                yield None
            for ref in done:
                actor, on = running.pop(ref)
                num_working -= on is not None
                outcome = _outcome(ref)
                if not isinstance(outcome, RayError):
                    idle.append(actor)
                    if on is not None:
                        yield on, outcome
                    continue
                if FailureKind.of(outcome) == FailureKind.RAISED:
                    idle.append(actor)
                else:
                    ray.kill(actor)  # it may be dead already
                    start()
                if on is None:  # an actor that does not start is a try of the part that waits for it
                    if not left.waiting:
                        continue
                    on, _ = left.waiting.popleft()
                if (failure := left.fails(on, outcome)) is not None:
                    yield on, failure
    finally:
        for actor in [*idle, *(actor for actor, _ in running.values())]:
            ray.kill(actor)


def call_in_worker(
    function: Callable[..., Any], *arguments: Any, label: str, max_retries: int = MAX_RETRIES, **options: Any
) -> Any:
    """The answer of one task, which is started again when its worker died.

    Args:
        function: What to call there.
        arguments: Its arguments.
        label: Name of the work.
        max_retries: How often it is tried again.
        options: Of the Ray task, such as `num_cpus` and `name`.

    Raises:
        RecsysError: what the task raised; EngineError or StorageError: it ended in another way in every try.
    """
    task = ray.remote(function).options(max_retries=0, **options)
    left = _Parts(label, [label], max_retries)
    while True:
        outcome = _outcome(task.remote(*arguments))
        if not isinstance(outcome, RayError):
            return outcome
        if (failure := left.fails(0, outcome)) is not None:
            raise failure.as_error(label) from outcome


class _Worker:
    """An actor that does parts."""

    def start(self) -> None:
        """Answer when the process runs."""

    def call(self, work: Work, part: str) -> Answer:
        """Do a part."""
        return work(part)


def _call(work: Work, part: str) -> Answer:
    return work(part)


def _outcome(ref: "ray.ObjectRef[Any]") -> Any:
    """What a task returned, or Ray's error."""
    try:
        return ray.get(ref)
    except RayError as error:
        return error
