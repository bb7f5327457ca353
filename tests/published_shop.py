"""Published nights of a tiny shop, written by the parts that write real ones."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from recsys.data.histories import shard_of
from recsys.schema import CATALOG, INTERACTIONS, RECOMMENDATIONS
from recsys.settings import Config
from recsys.storage.filesystem import Storage
from recsys.storage.manifest import PublishedTable, Shard, lists_folder, write_manifest
from recsys.storage.publish import publish
from recsys.storage.runs import RunFolder
from recsys.storage.tables import write_table

FIRST = dt.date(2026, 11, 1)
#: A user and the items of the user's list, best first.
Rows = list[tuple[str, list[str]]]
#: (days after the first night, user, item): each at noon.
Events = list[tuple[int, str, str]]


def day_of(day: int) -> dt.date:
    """The date of a night, by the days after the first one."""
    return FIRST + dt.timedelta(days=day)


def moment(day: int, hour: int = 12) -> dt.datetime:
    """An hour of such a day."""
    return dt.datetime.combine(day_of(day), dt.time(hour), tzinfo=dt.UTC)


class PublishedShop:
    """Writes nights into a storage."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.storage, self.config, self.shards = Storage(str(folder)), config, config.histories.shards

    def run(self, day: int, name: str = "0123456789ab") -> RunFolder:
        """The run of a day."""
        return RunFolder(self.storage, f"{day_of(day).isoformat()}-{name}")

    def publish(
        self,
        run: RunFolder,
        lists: Rows,
        variant: Callable[[str], str] = lambda _: "default",
        tables: Mapping[str, PublishedTable] = MappingProxyType({}),
        model_id: str = "m",
    ) -> None:
        """Publish lists. The first item of a list is of the source `ranker`, the others of `ease`."""
        rows = [
            {"user_id": user, "rank": rank, "item_id": item, "score": -float(rank), "reason": ""}
            | {"source": "ranker" if rank == 1 else "ease", "variant": variant(user)}
            for user, items in lists
            for rank, item in enumerate(items, 1)
        ]
        everything = pa.Table.from_pylist(rows, schema=RECOMMENDATIONS)
        number = shard_of(everything["user_id"], self.shards)
        listed: list[Shard] = []
        for shard in range(self.shards):
            table, name = everything.filter(pa.array(number == shard)), f"shard-{shard:05d}.parquet"
            stats = write_table(self.storage, f"{lists_folder(run)}/{name}", table, RECOMMENDATIONS)
            users = len(table["user_id"].unique())
            listed.append(Shard(name=name, rows=stats.rows, users=users, bytes=stats.bytes, sha256=stats.sha256))
        details = {"model_id": model_id, "config": self.config.model_dump(mode="json"), "tables": dict(tables)}
        publish(run, write_manifest(run, listed, details), model_id)

    def know(
        self, run: RunFolder, attributes: Mapping[str, dict[str, str]], events: Sequence[tuple[int, str, str]] = ()
    ) -> None:
        """Write what a night knows: its config, its items with their attributes, and events."""
        run.write_config(self.config.to_yaml())
        self.happened(run, "interactions", [(moment(day), user, item) for day, user, item in events])
        items = [
            {"item_id": item, "text": item, "available": True, "attributes": own, "text_hash": item}
            for item, own in attributes.items()
        ]
        write_table(self.storage, f"{run.dir}/catalog.parquet", pa.Table.from_pylist(items, schema=CATALOG), CATALOG)

    def happened(self, run: RunFolder, folder: str, events: Sequence[tuple[dt.datetime, str, str]]) -> None:
        """Write events of a run: `interactions` or `impressions`."""
        rows = [
            {"user_id": user, "item_id": item, "timestamp": time, "event": "buy", "weight": 1.0}
            for time, user, item in events
        ]
        table = pa.Table.from_pylist(rows, schema=INTERACTIONS)
        write_table(self.storage, f"{run.dir}/{folder}/shard-00000.parquet", table, INTERACTIONS)
