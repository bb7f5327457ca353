"""What is known of the interests of the users of one shard, as facts from which a profile is written.

Only events are read on which nothing is measured, and not the newest ones: the ranker reads those itself, and a profile
that names them would teach it to copy.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.events.searches import searches_before
from recsys.data.histories import user_runs
from recsys.data.splits import before_held_out
from recsys.enrichment.config import UserTextsConfig
from recsys.enrichment.request import Facts, request_for
from recsys.pipeline.inputs.item_sayings import MOST_CHARS, readable
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import ENRICH_ITEMS
from recsys.pipeline.stored.shard_tables import read_interactions, read_non_positives, read_searches
from recsys.schema import TEXT_FACTS, TIMESTAMP
from recsys.storage.tables import read_table, write_table

#: Facts of a user: who, the facts with their key, the events that they are from, and the newest of them.
USER_FACTS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        *TEXT_FACTS,
        pa.field("num_events", pa.int64(), nullable=False),
        pa.field("until", TIMESTAMP, nullable=False),
    ]
)

#: Keywords of liked items, searches and reviews that are facts at most.
_MOST_KEYWORDS, _MOST_TEXTS = 20, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemWords:
    """Titles and written keywords of the items, by id."""

    titles: Mapping[str, str]
    keywords: Mapping[str, list[str]]

    @classmethod
    def read(cls, run: Run) -> "ItemWords":
        """Those of the run's catalog."""
        catalog = read_table(run.storage, run.catalog_path, ["item_id", "text", "attributes"])
        ids = catalog["item_id"].to_pylist()
        shown = [dict(pairs).get("title") for pairs in catalog["attributes"].to_pylist()]
        texts = catalog["text"].to_pylist()
        titles = {item: (title or text)[:MOST_CHARS] for item, title, text in zip(ids, shown, texts, strict=True)}
        keywords: dict[str, list[str]] = {}
        if ENRICH_ITEMS.applies(run.config):
            written = read_table(run.storage, run.item_texts_path, ["item_id", "keywords"])
            keywords = dict(zip(written["item_id"].to_pylist(), written["keywords"].to_pylist(), strict=True))
        return cls(titles=titles, keywords=keywords)


def user_facts_path(run: Run, shard: str) -> str:
    """USER_FACTS of a shard."""
    return f"{run.folder.dir}/user_facts/{shard}.parquet"


def facts_writer(run: Run, spec: UserTextsConfig) -> Callable[[str], Record]:
    """Writes USER_FACTS of a shard, for the users with enough events."""
    words = ItemWords.read(run)
    skipped = run.config.histories.max_length if spec.skip_newest is None else spec.skip_newest

    def write(shard: str) -> Record:
        interactions, kept = readable(run, read_interactions(run, shard))
        rejected = read_non_positives(run, shard)
        rejected = before_held_out(rejected.filter(pc.less(rejected["weight"], 0)), kept, run.cutoff, and_at_once=False)
        disliked = _by_user(rejected, [words.titles.get(item, "") for item in rejected["item_id"].to_pylist()])
        searches = _searches(run, shard, kept)
        rows = []
        for user, events in _read_events(interactions, spec, skipped):
            until = events["timestamp"][-1].as_py()
            facts = facts_of(
                events,
                words,
                disliked=[title for time, title in disliked.get(user, []) if time <= until],
                searched=[text for time, text in searches.get(user, []) if time <= until],
            )
            request = request_for(facts, spec)
            rows.append(
                {"user_id": user, "key": request.key, "facts": request.data, "num_events": len(events), "until": until}
            )
        write_table(run.storage, user_facts_path(run, shard), pa.Table.from_pylist(rows, schema=USER_FACTS), USER_FACTS)
        return {"rows": len(rows)}

    return write


def _read_events(interactions: pa.Table, spec: UserTextsConfig, skipped: int) -> Iterator[tuple[str, pa.Table]]:
    """The events of each user that the profile reads, oldest first; users with too few are left out.

    Their number without the newest is rounded down to whole steps, so that not every event changes the facts.
    """
    users, offsets = user_runs(interactions)
    for user, start, end in zip(users.to_pylist(), offsets[:-1], offsets[1:], strict=True):
        known = int(end - start) - skipped
        if known >= spec.min_events:
            known = max(known // spec.step * spec.step, spec.min_events)
            first = max(known - spec.max_events, 0)
            yield user, interactions.slice(start + first, known - first)


def facts_of(events: pa.Table, words: ItemWords, disliked: list[str], searched: list[str]) -> Facts:
    """The facts of one user.

    Args:
        events: The user's interactions, oldest first; those of at least the mean weight are liked, the others taken.
        words: Of the items.
        disliked: Titles of items that the user returned or disliked.
        searched: What the user searched for, oldest first.
    """
    weights = events["weight"].to_numpy()
    liked = weights >= weights.mean() - 1e-6
    ids = events["item_id"].to_pylist()
    favourites = [item for item, likes in zip(ids, liked, strict=True) if likes]
    counts = Counter(word for item in favourites for word in words.keywords.get(item, []))
    wrote = [text[:MOST_CHARS] for text in events["text"].to_pylist() if text] if "text" in events.column_names else []
    return {
        "liked": _titles(favourites, words),
        "taken": _titles([item for item, likes in zip(ids, liked, strict=True) if not likes], words),
        "disliked": disliked[-_MOST_TEXTS:],
        "searched": list(dict.fromkeys(reversed(searched)))[:_MOST_TEXTS][::-1],
        "wrote": wrote[-_MOST_TEXTS:],
        "keywords of liked items": [word for word, _ in counts.most_common(_MOST_KEYWORDS)],
    }


def _titles(items: list[str], words: ItemWords) -> list[str]:
    return list(dict.fromkeys(words.titles[item] for item in items if words.titles.get(item)))


def _searches(run: Run, shard: str, kept: pa.Table) -> dict[str, list[tuple[dt.datetime, str]]]:
    searches = read_searches(run, shard)
    if searches is None:
        return {}
    searches = searches_before(searches, kept, run.cutoff)
    return _by_user(searches, searches["text"].to_pylist())


def _by_user(events: pa.Table, texts: list[str]) -> dict[str, list[tuple[dt.datetime, str]]]:
    found: dict[str, list[tuple[dt.datetime, str]]] = defaultdict(list)
    for user, time, text in zip(events["user_id"].to_pylist(), events["timestamp"].to_pylist(), texts, strict=True):
        if text:
            found[user].append((time, text[:MOST_CHARS]))
    return found
