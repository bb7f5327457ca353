"""What a stage of a run is: its name, its function, its typed record, and what it reads and writes.

The stages themselves are declared in `recsys.pipeline.stages`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import ConfigDict

from recsys.config.strict_json import STRICT, as_json, from_json
from recsys.pipeline.imports_ahead import imported
from recsys.settings import Config

if TYPE_CHECKING:  # `Run` reads records, so it imports this file
    from recsys.pipeline.run import Run


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """What a finished stage leaves: values that later stages read, and counts for people. It is stored as JSON."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    rows: int
    """Rows that the stage worked on; `rows_per_s` counts them."""
    peak_memory_mb: float = 0.0
    """Largest memory of one process of the stage, MB."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How fast a stage was."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    seconds: float
    rows_per_s: float
    finished_at: str
    """ISO 8601, UTC."""
    cpu_seconds: float | None = None
    """Of the job and of its workers, see `recsys.pipeline.workers.cpu_time`; older records do not have it."""


R = TypeVar("R", bound=StageRecord)


@dataclass(frozen=True)
class Done(Generic[R]):
    """A finished stage: its record and its timing, which are stored as one flat JSON object."""

    record: R
    timing: Timing

    def as_json(self) -> dict[str, Any]:
        """Plain values: the fields of the record, then those of the timing."""
        return as_json(self.record) | as_json(self.timing)


@dataclass(frozen=True)
class Condition:
    """Which configs have a stage, in words and as a function."""

    words: str
    holds: Callable[[Config], bool]


@dataclass(frozen=True, kw_only=True)
class Stage(Generic[R]):
    """One stage of a run.

    `reads` and `writes` are paths below the storage root. They may use `{run}` (folder of the run), `{histories}`
    (folder of its histories), `{model}` and `{refit}` (folders of its models), `{lists}` (folder of its lists) and
    `{similar_items}` (folder of that table).
    """

    name: str
    """Name of its stored record, and of its row in tables and reports."""
    function: str
    """`module:name` of the function, which takes the `Run` and returns the record.

    It is imported when the stage runs, so that a bad config is refused before PyTorch and Ray are imported.
    """
    record: type[R]
    summary: str
    """What the stage does, in one sentence."""
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    intermediate: tuple[str, ...] = ()
    """Folders below `{run}` that no stage needs after the lists are published; they are deleted then."""
    workers: Callable[[Config], str]
    """Which processes do the work, for people."""
    condition: Condition | None = None
    """None: every run has the stage."""
    part: type[Any] | None = None
    """Class of the records of its parts, where later stages read them; then a part without a record is done again."""
    num_parts: Callable[[R], int] = lambda _: 0
    """How many such records there are."""
    stays: Callable[[R], bool] = lambda _: True
    """Whether a finished stage is not run again: a refusal is tried again, since its thresholds may be new."""

    def applies(self, config: Config) -> bool:
        """Whether a run of this config has the stage."""
        return self.condition is None or self.condition.holds(config)

    @property
    def module(self) -> str:
        """The module of its function."""
        return self.function.partition(":")[0]

    def work(self, run: "Run", **arguments: Any) -> R:
        """Import the function and call it."""
        name = self.function.partition(":")[2]
        record = getattr(imported(self.module), name)(run, **arguments)
        assert isinstance(record, self.record), f"{self.function} returned {type(record)}, not {self.record}"
        return record

    def read_done(self, stored: Mapping[str, Any]) -> Done[R]:
        """Decode a stored JSON object.

        Raises:
            ValueError: a field is missing or of a wrong type.
        """
        timing = {field.name: stored[field.name] for field in dataclasses.fields(Timing) if field.name in stored}
        record = {key: value for key, value in stored.items() if key not in timing}
        return Done(from_json(self.record, record), from_json(Timing, timing))
