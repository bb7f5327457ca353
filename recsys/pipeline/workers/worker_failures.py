"""What ends the work on a part without a record: a dead worker, a lost machine, too little memory, an unexpected error.

Ray's errors become one line of ours that names the part and the way out.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from ray import exceptions
from ray.train import TrainingFailedError

from recsys.errors import EngineError, RecsysError, causes, one_line
from recsys.storage.failures import is_full, no_room

#: How often work is tried again after its worker died. Work that ends every worker must fail.
MAX_RETRIES = 3

#: Settings that lessen the memory of the workers, by the name of the work.
_LESS_MEMORY = {
    **dict.fromkeys(("recommend", "similar items"), "recommend.num_workers or recommend.batch_size"),
    **dict.fromkeys(("measure", "gate", "fuse"), "recommend.num_workers or recommend.candidates"),
    **dict.fromkeys(("encode", "reencode"), "encoder.num_workers or encoder.batch_size"),
    **dict.fromkeys(("enrich", "enrich_users"), "num_workers or batch_size of enrich.settings"),
    **dict.fromkeys(("train", "finetune", "refit", "baskets"), "train.num_workers or train.batch_size"),
}


class FailureKind(StrEnum):
    """Why work ended without a record."""

    WORKER_DIED = "worker_died"
    MACHINE_LOST = "machine_lost"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_DISK = "out_of_disk"
    RAISED = "raised"
    """The code raised an unexpected error."""
    ENGINE = "engine"
    """Ray itself failed."""

    @classmethod
    def of(cls, error: BaseException) -> "FailureKind":
        """The kind of an error of Ray."""
        match error:
            case exceptions.OutOfMemoryError():
                return cls.OUT_OF_MEMORY
            case exceptions.OutOfDiskError() | exceptions.ObjectStoreFullError():
                return cls.OUT_OF_DISK
            case exceptions.RayTaskError():
                return cls.RAISED
            case exceptions.NodeDiedError() | exceptions.ObjectLostError() | exceptions.LocalRayletDiedError():
                return cls.MACHINE_LOST
            case exceptions.WorkerCrashedError() | exceptions.RayActorError():
                return cls.WORKER_DIED
        return cls.ENGINE

    @property
    def may_pass(self) -> bool:
        """Whether the same work may succeed in another try."""
        return self in (FailureKind.WORKER_DIED, FailureKind.MACHINE_LOST, FailureKind.OUT_OF_MEMORY)


_WORDS = {
    FailureKind.WORKER_DIED: "the worker died",
    FailureKind.MACHINE_LOST: "the machine of the worker was lost",
    FailureKind.OUT_OF_MEMORY: "the worker was ended because the memory of its machine was used up",
    FailureKind.OUT_OF_DISK: "the shared memory of Ray and the disk under its folder are full",
}
#: The end of a message of work that failed.
GOES_ON = "then start the night again: it continues where it stopped"
_LOGS = "the log of the worker is in Ray's folder (/tmp/ray/session_latest/logs)"


@dataclass(frozen=True)
class PartFailure:
    """Work on a part that ended without a record in each of its tries."""

    part: str
    error: BaseException
    tries: int = 1

    @property
    def kind(self) -> FailureKind:
        """Why it ended."""
        return FailureKind.of(self.error)

    @property
    def cause(self) -> BaseException:
        """The error that the code raised, or Ray's error."""
        cause = getattr(self.error, "cause", None)
        return cause if isinstance(cause, BaseException) else self.error

    @property
    def words(self) -> str:
        """What happened. The text of an error of the code may hold data of a user: it is not for logs of many rows."""
        return _WORDS.get(self.kind) or raised(self.error)

    def as_error(self, label: str, name: str = "") -> RecsysError:
        """One line for people.

        Args:
            label: Name of the work, such as `recommend`.
            name: What the part is, for people, such as the path of a file; empty: the work has one part.
        """
        for cause in causes(self.error):
            if isinstance(cause, RecsysError):
                return cause  # it says already what to do
        place = f"{label}: {name}" if name else label
        if is_full(self.error):
            return no_room(place, self.error)
        tries = f" in each of {self.tries} tries" if self.tries > 1 else ""
        return EngineError(f"{place}: {self.words}{tries}; {_way_out(label, self.kind)}")


def as_ours(label: str, error: Exception) -> RecsysError | None:
    """One line of ours for an error of Ray, or of a full disk, that ended a stage; None: it is another error.

    Args:
        label: Name of the stage.
        error: What the stage raised.
    """
    engine = [cause for cause in causes(error) if isinstance(cause, exceptions.RayError | TrainingFailedError)]
    if not engine and not is_full(error):
        return None
    return PartFailure(label, engine[-1] if engine else error).as_error(label)


def raised(error: BaseException) -> str:
    """Type, first line and place of an error that the code of a worker raised."""
    if not isinstance(error, exceptions.RayTaskError):
        return one_line(error)
    frames = re.findall(r'File "([^"]+)", line (\d+), in', getattr(error, "traceback_str", "") or str(error))
    place = f" ({frames[-1][0]}:{frames[-1][1]})" if frames else ""
    return f"{one_line(error.cause)}{place}"


def _way_out(label: str, kind: FailureKind) -> str:
    less = _LESS_MEMORY.get(label)
    match kind:
        case FailureKind.OUT_OF_MEMORY:
            lower = f"lower {less}" if less else "let fewer workers run at a time (a Ray with fewer CPUs)"
            return f"{lower}, or use machines with more memory, {GOES_ON}"
        case FailureKind.OUT_OF_DISK:
            return f"make room there, or start Ray with another --temp-dir, {GOES_ON}"
        case FailureKind.MACHINE_LOST:
            return f"see that the machines of the cluster stay, {GOES_ON}"
        case FailureKind.WORKER_DIED:
            lower = f" (lower {less})" if less else ""
            return f"{_LOGS}; mend what ends it, such as a plugin or too little memory{lower}, {GOES_ON}"
        case FailureKind.RAISED:
            return f"-v shows the traceback; mend the input, the config or the plugin that it names, {GOES_ON}"
        case FailureKind.ENGINE:
            return f"{_LOGS}; {GOES_ON}"
