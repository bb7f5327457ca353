"""What a signal is: one file holds everything of it, and the registry lists it.

A signal lives in three steps, each with a class of its own:

1. `Signal`: its name, its numbers, its sentences; what it **counts** in the shards, and how the shards' tables
   **merge**. There is one object a process, and it holds no data.
2. `LoadedSignal`: the signal of one night and one data view, in memory; it can **impute** its numbers for cold items.
3. `Evidence`: the loaded signal beside a block of users: the items that it **proposes**, its numbers for candidates
   (**measure**), and why an item is in a list (**explain**).

A simple signal writes a `Signal` with `load`, and a `LoadedSignal` with `measure`; the defaults do the rest.

Shapes: B users, C candidates, I items of the catalog, L columns of a signal, N pairs of a user and an item.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.signals.donors import Donors
from recsys.signals.text_ease import TextEase
from recsys.signals.users import UserBlock

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: Which days may be seen. `validation`: what training saw; `test`: everything before the held-out days; `full`: all
#: days up to the night's date.
DataView = Literal["validation", "test", "full"]

#: In the place of a sentence or of an item: there is none.
NONE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEvents:
    """What a data view may see of one shard."""

    interactions: pa.Table
    """INTERACTIONS of whole users, sorted by user and time; all weights are above 0."""
    users: Ints
    """[N] number of each user, from 0, for each user's newest events (`train.max_events_per_user`), oldest first."""
    items: Ints
    """[N] catalog index of each of these events; −1 for an item that the catalog does not hold."""
    age_days: npt.NDArray[np.float64]
    """[N] days from each of these events to the end of the view."""
    weights: npt.NDArray[np.float64]
    """[N] weight of each of these events, above 0."""
    catalog_items: Ints
    """Catalog index of each row of ``interactions``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """What counting and merging need to know beside the events."""

    num_items: int
    settings: Any
    """The signal's section of the config, see `Signal.section`; None where it has none."""
    first_day: int
    """Days since 1970 of the first day on which a validation user's last basket may lie."""
    text_ease: Callable[[], TextEase] | None = None
    """The text model of the catalog, computed when it is first asked for; None: there is none."""


class CountedShards(Protocol):
    """The tables that `Signal.count` gave, one a shard."""

    def tables(self, items: range | None = None) -> Iterator[pa.Table]:
        """The tables, one after another.

        Args:
            items: Only rows whose column ``item`` lies in this range, for tables that are sorted by it; None: all rows.
        """


class NightSource(Protocol):
    """What a signal is loaded from: one night's catalog, model and counts, read when they are asked for."""

    @property
    def view(self) -> DataView:
        """The data view."""

    @property
    def item_ids(self) -> pa.Array:
        """[I] sorted ids of the catalog."""

    @property
    def settings(self) -> Any:
        """The signal's section of the config; None where it has none."""

    @property
    def days(self) -> Ints:
        """[G] rising days since 1970; each user is scored as one of these days begins."""

    @property
    def oldest_day(self) -> int:
        """Day since 1970 of the oldest event."""

    @property
    def text_vectors(self) -> Floats:
        """[I, T] text vectors of length 1, or 0 for an item without text."""

    @property
    def recommendable(self) -> npt.NDArray[np.bool_]:
        """[I] items that may be recommended."""

    def attribute(self, name: str) -> pa.Array:
        """[I] text of an attribute of the items; null where an item has none.

        Raises:
            ConfigError: no item has it; `inputs.items.attributes` says which columns are kept.
        """

    def counted(self) -> pa.Table:
        """The merged table of `Signal.merge` for this view."""

    def ranker(self) -> "LoadedSignal":
        """The night's ranker, a `recsys.signals.ranker_evidence.LoadedRanker`; torch is loaded with it."""

    def language_model(self) -> "LoadedSignal":
        """The language model of the section `lm`, a `recsys.signals.lm_evidence.LoadedLm`; torch is loaded with it."""

    def text(self) -> "LoadedSignal":
        """The night's text model, a `recsys.signals.text_evidence.LoadedText`; torch is loaded with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why N items are in the lists of N users."""

    sentence: Ints
    """[N] place in `Signal.sentences`, or `NONE` where the signal cannot explain the item."""
    item: Ints
    """[N] catalog index of the history item that the sentence names, or `NONE`."""

    @classmethod
    def by(cls, items: Ints) -> "Explanation":
        """The first sentence, with these items of the history [N]; no explanation where an item is `NONE`."""
        return cls(sentence=np.where(items >= 0, 0, NONE), item=items)


class Evidence:
    """What a loaded signal says for a block of users."""

    def __init__(self, loaded: "LoadedSignal", users: UserBlock) -> None:
        """The default asks the loaded signal."""
        self.loaded = loaded
        self.users = users

    def propose(self, num: int) -> Ints | None:  # noqa: ARG002
        """[B, P] catalog indices that should become candidates, `NONE` where there are fewer; None: it proposes none.

        Args:
            num: Candidates that the config asks for; a signal proposes a fixed share of them.
        """
        return None

    def cold_scores(self, items: npt.NDArray[np.int32]) -> Floats | None:  # noqa: ARG002
        """[B, N] ≥ 0, how well each of some cold items fits each user; None: the signal does not choose cold items.

        The scores of all signals are added, and the best cold items become candidates.
        """
        return None

    def measure(self, items: Ints) -> Floats:
        """[B, C, L] the signal's numbers.

        Args:
            items: [B, C] catalog indices; `NONE` is no candidate and may have any number.
        """
        return self.loaded.measure(self.users, items)

    def explain(self, rows: Ints, items: Ints, weights: Floats) -> Explanation:
        """Why some items, which the signal lifts most, are in the lists of some users.

        Args:
            rows: [N] places of the users in the block.
            items: [N] catalog indices.
            weights: [N, L] weights of the signal's numbers for these users.
        """
        return self.loaded.explain(self.users, rows, items, weights)


class LoadedSignal:
    """A signal of one night and one data view."""

    most_candidates: int | None = None
    """For a costly signal: how many candidates of a user are measured, the best by all other signals. Others get 0."""

    def impute(self, donors: Donors) -> "LoadedSignal":  # noqa: ARG002
        """The same signal where cold items have the average numbers of their donors; the default changes nothing."""
        return self

    def read(self, users: UserBlock) -> Evidence:
        """What the signal says for a block of users."""
        return Evidence(self, users)

    def measure(self, users: UserBlock, items: Ints) -> Floats:
        """[B, C, L] of `Evidence.measure`; to be written by every signal that has no evidence class of its own."""
        raise NotImplementedError

    def explain(self, users: UserBlock, rows: Ints, items: Ints, weights: Floats) -> Explanation:
        """See `Evidence.explain`; the default says the first sentence, which then names no item.

        It says nothing where the weighted numbers add nothing to the score. A fitted weight may be negative: then an
        item is above the others because the sentence does *not* hold for it.
        """
        numbers = self.read(users.rows(rows)).measure(items[:, None])[:, 0]
        holds = (numbers * weights).sum(axis=1) > 0
        return Explanation(sentence=np.where(holds, 0, NONE), item=np.full(len(rows), NONE))


class Signal:
    """One signal; the docstring of the subclass says for people what it is."""

    name: ClassVar[str]
    """Its name in the config, and the `source` of the items that it lifts most."""
    columns: ClassVar[Mapping[str, str]]
    """Its numbers: name → one sentence for people. Each number has a weight in the fusion."""
    sentences: ClassVar[tuple[str, ...]]
    """Its explanations; `{}` stands for the title of an item of the user's history and can only be at the end."""
    default_weights: ClassVar[Mapping[str, float]] = {}
    """Weights of the columns where there are too few validation users to fit any; a column without one has 0."""
    query_weight: ClassVar[Mapping[str, float]] = {}
    """What is added to a column's weight for a user who searches at this very moment."""
    relates_items: ClassVar[bool] = False
    """Whether its numbers say which items go with the items of a history; only these make similar items."""
    section: ClassVar[str | None] = None
    """Key of the config that holds its settings."""
    views: ClassVar[tuple[DataView, ...]] = ()
    """Data views that it is counted on; none: it counts nothing. One view alone serves all views."""
    counted: ClassVar[pa.Schema | None] = None
    """Columns of the tables that `count` gives."""
    merged: ClassVar[pa.Schema | None] = None
    """Columns of the table that `merge` gives."""
    optional: ClassVar[bool] = False
    """Whether a night has it only where the config has its `section`."""
    imputed: ClassVar[bool] = False
    """Whether the numbers of cold items come from donors; then the `text` signal explains such items."""

    def count(self, events: ShardEvents, counting: Counting) -> pa.Table:
        """Count one shard, as a table of the schema ``counted``."""
        raise NotImplementedError

    def merge(self, shards: CountedShards, counting: Counting) -> Iterable[pa.Table]:
        """Merge the shards, in any order, to tables of the schema ``merged``, which are written one after another."""
        raise NotImplementedError

    def load(self, source: NightSource) -> LoadedSignal:
        """Load the signal for one night and one data view."""
        raise NotImplementedError
