"""Some users of a night for its page: their newest items and their lists, with hashed ids."""

import hashlib
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.pipeline.list_records import WrittenShard
from recsys.pipeline.lists.find_titles import find_titles
from recsys.pipeline.run import Run
from recsys.pipeline.stages import WRITE_LISTS
from recsys.report.sample_lists import SampleEntry, SampleList
from recsys.schema import RECOMMENDATIONS
from recsys.storage.manifest import lists_folder
from recsys.storage.tables import iter_batches

NUM_USERS = 20
#: Titles of a history and places of a list that are shown.
NUM_TITLES, NUM_PLACES = 8, 10
#: Longer titles and texts are cut.
_LONGEST_TITLE = 60
#: Users of the first shard from which they are chosen.
_CHOSEN_FROM = 2000


def sample_users(run: Run) -> list[SampleList]:
    """Users of the first shard that has any, spread evenly over the lengths of histories; none without lists."""
    names = run.storage.list(lists_folder(run.folder))
    for shard in (name.removesuffix(".parquet") for name in names if name.endswith(".parquet")):
        path = f"{run.folder.histories_dir}/{shard}.parquet"
        histories = next(iter_batches(run.storage, path, _CHOSEN_FROM), None)
        if histories is not None and len(histories):
            return _samples(run, shard, _spread(histories))
    return []


def _spread(histories: pa.Table) -> pa.Table:
    """Rows of HISTORIES from the shortest to the longest, evenly over all."""
    lengths = pc.list_value_length(histories["item_ids"]).to_numpy()
    ordered = np.argsort(lengths, kind="stable")
    places = np.unique(np.linspace(0, len(ordered) - 1, NUM_USERS).round().astype(np.int64))
    return histories.take(pa.array(ordered[places]))


def _samples(run: Run, shard: str, histories: pa.Table) -> list[SampleList]:
    users = histories["user_id"].to_pylist()
    rows = _first_places(run, shard, users)
    # if no texts are read, every event has an item
    texts_in = "texts" if "texts" in histories.column_names else "item_ids"
    newest, said = (
        [entries[-NUM_TITLES:][::-1] for entries in histories[name].to_pylist()] for name in ("item_ids", texts_in)
    )
    titles = _titles(run, {*itertools.chain.from_iterable(newest), *rows["item_id"].to_pylist()})
    lists: dict[str, list[SampleEntry]] = {user: [] for user in users}
    for row in rows.to_pylist():
        shown = {name: row[name] for name in ("rank", "score", "source", "reason")}
        lists[row["user_id"]].append(SampleEntry(title=titles[row["item_id"]], **shown))
    lengths = pc.list_value_length(histories["item_ids"]).to_pylist()
    key = _key(run)
    return [
        SampleList(
            user=hashlib.blake2b(user.encode("utf-8", "surrogatepass"), key=key, digest_size=6).hexdigest(),
            num_events=length,
            history=[titles[item] if item else f"“{_cut(text)}”" for item, text in zip(items, texts, strict=True)],
            recommended=lists[user],
        )
        for user, length, items, texts in zip(users, lengths, newest, said, strict=True)
    ]


def _first_places(run: Run, shard: str, users: list[str]) -> pa.Table:
    """RECOMMENDATIONS of the users, their first places only."""
    rows = [RECOMMENDATIONS.empty_table()]
    wanted = pa.array(users, pa.string())
    for batch in iter_batches(run.storage, f"{lists_folder(run.folder)}/{shard}.parquet", 65_536):
        shown = pc.and_(pc.is_in(batch["user_id"], value_set=wanted), pc.less_equal(batch["rank"], NUM_PLACES))
        rows.append(batch.filter(shown))
        if sum(len(part) for part in rows) >= len(users) * min(NUM_PLACES, run.config.recommend.top_k):
            break
    return pa.concat_tables(rows)


def _key(run: Run) -> bytes:
    """Key of the hashes: it depends on all lists, so nobody can try ids who cannot read the lists themselves."""
    shards = sorted(shard.sha256 for shard in run.parts(WRITE_LISTS, WrittenShard).values())
    return hashlib.sha256("".join(shards).encode()).digest()


def _titles(run: Run, item_ids: set[str]) -> dict[str, str]:
    """The title of each item, or its id if it has no title."""
    found = find_titles(run.folder, pa.array(sorted(item_ids), pa.string()))
    return {item_id: _cut(found.get(item_id, item_id)) for item_id in item_ids}


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TITLE else f"{text[: _LONGEST_TITLE - 1]}…"
