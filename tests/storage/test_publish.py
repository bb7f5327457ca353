import contextlib
import datetime as dt
import importlib.metadata
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from recsys.errors import ConfigError, InputError
from recsys.schema import RECOMMENDATIONS, SCHEMA_VERSION
from recsys.storage.filesystem import NewFile, Storage
from recsys.storage.latest import LATEST, read_latest, require_latest
from recsys.storage.lease import lock
from recsys.storage.manifest import (
    MANIFEST,
    PublishedTable,
    Shard,
    TableFile,
    lists_folder,
    read_manifest,
    table_folder,
    verify,
    write_manifest,
)
from recsys.storage.package_versions import package_versions
from recsys.storage.publish import last_published, lost_pointer, publish, published
from recsys.storage.runs import RunFolder
from recsys.storage.tables import read_table, write_table

OLD, NEW = "2026-11-21-0123456789ab", "2026-11-22-0123456789ab"
DETAILS = {"model_id": "m1", "metrics": {"ndcg@10": 0.1}, "gate": {"passed": True}, "config": {"seed": 0}}


def lists(mark: str, num_users: int = 3) -> pa.Table:
    rows = [
        {"user_id": f"u{i}", "rank": 1, "item_id": mark, "score": 1.0, "source": "r", "reason": "", "variant": ""}
        for i in range(num_users)
    ]
    return pa.Table.from_pylist(rows, schema=RECOMMENDATIONS)


def write_shards(run: RunFolder, mark: str, num_shards: int = 2) -> list[Shard]:
    shards: list[Shard] = []
    for number in range(num_shards):
        name = f"shard-{number:05d}.parquet"
        stats = write_table(run.storage, f"{lists_folder(run)}/{name}", lists(f"{mark}{number}"), RECOMMENDATIONS)
        shards.append({"name": name, "rows": 3, "users": 3, "bytes": stats.bytes, "sha256": stats.sha256})
    return shards


def night(storage: Storage, run_id: str, mark: str) -> bool:
    """The end of a night, as a job would write it; it can be run again."""
    run = RunFolder(storage, run_id)
    with lock(run, heartbeat_s=3600) as lease:  # no heartbeat among the counted writes
        if published(storage, run_id) is not None:
            return True
        if (record := run.done("recommend")) is None:
            record = {"shards": write_shards(run, mark)}
            run.finish("recommend", record)
        sha256 = write_manifest(run, record["shards"], DETAILS)
        lease.check()
        return publish(run, sha256, "m1")


def read_night(storage: Storage) -> str | None:
    """What a reader sees: the item marks of all lists, held against the manifest."""
    latest = read_latest(storage)
    if latest is None:
        return None
    manifest = read_manifest(storage, latest)
    verify(storage, manifest)
    tables = [read_table(storage, f"{latest.path}/{shard['name']}") for shard in manifest["shards"]]
    assert sum(len(table) for table in tables) == manifest["rows"]
    return " ".join(sorted(set(pa.concat_tables(tables)["item_id"].to_pylist())))


@pytest.fixture
def storage(root: str) -> Storage:
    return Storage(root)


def test_a_night_is_published_as_the_contract_says(storage: Storage) -> None:
    assert read_latest(storage) is None
    assert published(storage, NEW) is None
    run = RunFolder(storage, NEW)
    shards = write_shards(run, "a")
    sha256 = write_manifest(run, reversed(shards), DETAILS)
    assert read_latest(storage) is None
    assert published(storage, NEW) is None
    assert publish(run, sha256, "m1")

    pointer = storage.read_json(LATEST)
    assert set(pointer) == {
        "run_id",
        "run_date",
        "path",
        "model_id",
        "published_at",
        "manifest_sha256",
        "format_version",
    }
    assert pointer["path"] == "recommendations/run_date=2026-11-22/run_id=2026-11-22-0123456789ab"
    assert (pointer["run_date"], pointer["model_id"]) == ("2026-11-22", "m1")
    assert dt.datetime.fromisoformat(pointer["published_at"]).tzinfo is not None
    manifest = storage.read_json(f"{pointer['path']}/{MANIFEST}")
    assert manifest["schema_version"] == SCHEMA_VERSION
    assert (manifest["run_id"], manifest["run_date"], manifest["model_id"]) == (NEW, "2026-11-22", "m1")
    assert (manifest["rows"], manifest["users"], manifest["shards"]) == (6, 6, shards)
    assert {key: manifest[key] for key in DETAILS} == DETAILS
    assert manifest["packages"]["pyarrow"] == pa.__version__

    latest = read_latest(storage)
    assert latest is not None
    assert latest.run_date == dt.date(2026, 11, 22)
    assert read_manifest(storage, latest) | {"format_version": 1} == manifest
    assert published(storage, NEW) == latest
    assert read_night(storage) == "a0 a1"


def test_an_older_night_does_not_move_the_pointer_back_unless_asked(storage: Storage) -> None:
    assert night(storage, NEW, "new")
    assert not night(storage, OLD, "old")
    assert read_night(storage) == "new0 new1"
    receipt = published(storage, OLD)
    assert receipt is not None
    assert read_manifest(storage, receipt)["run_id"] == OLD
    assert publish(RunFolder(storage, OLD), receipt.manifest_sha256, "m1", allow_older=True)
    assert read_night(storage) == "old0 old1"


def test_of_many_nights_that_end_at_once_the_latest_is_published(storage: Storage) -> None:
    runs = [RunFolder(storage, f"2026-11-{day:02d}-0123456789ab") for day in range(1, 9)]
    manifests = [write_manifest(run, write_shards(run, run.run_id[8:10], 1), DETAILS) for run in runs]
    for _ in range(20):
        storage.delete(LATEST)
        with ThreadPoolExecutor(len(runs)) as threads:
            moved = list(threads.map(lambda run, manifest: publish(run, manifest, "m1"), runs, manifests))
        assert moved[-1]
        latest = read_latest(storage)
        assert latest is not None
        assert latest.run_id == runs[-1].run_id


def test_another_run_of_the_same_date_moves_the_pointer(storage: Storage) -> None:
    assert night(storage, NEW, "first")
    assert night(storage, "2026-11-22-ffffffffffff", "second")
    assert read_night(storage) == "second0 second1"
    assert published(storage, NEW) is not None


def test_publishing_again_changes_nothing(storage: Storage) -> None:
    assert night(storage, NEW, "a")
    before = storage.read_bytes(LATEST)
    run = RunFolder(storage, NEW)
    shards = storage.read_json(f"{lists_folder(run)}/{MANIFEST}")["shards"]
    sha256 = write_manifest(run, shards, {**DETAILS, "metrics": {}})
    assert publish(run, sha256, "m1")
    assert storage.read_bytes(LATEST) == before
    assert read_night(storage) == "a0 a1"


def test_a_manifest_is_never_rewritten_with_other_shards(storage: Storage) -> None:
    assert night(storage, NEW, "a")
    run = RunFolder(storage, NEW)
    shards = storage.read_json(f"{lists_folder(run)}/{MANIFEST}")["shards"]
    with pytest.raises(ConfigError, match=r"other shards.*--force"):
        write_manifest(run, shards[:1], DETAILS)
    assert read_night(storage) == "a0 a1"


def test_a_repeated_night_answers_by_its_last_name(storage: Storage) -> None:
    run = RunFolder(storage, NEW)
    assert last_published(run) is None
    for run_id, mark in ((NEW, "a"), (f"{NEW}-2", "b")):
        assert night(storage, run_id, mark)
        last = last_published(run)
        assert last is not None
        assert last.run_id == run_id
    assert read_night(storage) == "b0 b1"


def test_a_manifest_lists_only_what_is_there(storage: Storage) -> None:
    run = RunFolder(storage, NEW)
    shards = write_shards(run, "a")
    with pytest.raises(InputError, match=r"shard-00000\.parquet: has \d+ bytes, the manifest says 1"):
        write_manifest(run, [{**shards[0], "bytes": 1}], DETAILS)
    storage.delete(f"{lists_folder(run)}/shard-00001.parquet")
    with pytest.raises(InputError, match=r"shard-00001\.parquet: is missing"):
        write_manifest(run, shards, DETAILS)
    assert not storage.exists(f"{lists_folder(run)}/{MANIFEST}")


def test_damaged_shards_are_reported_by_name(storage: Storage) -> None:
    assert night(storage, NEW, "a")
    latest = read_latest(storage)
    assert latest is not None
    manifest = read_manifest(storage, latest)
    verify(storage, manifest)
    path = f"{latest.path}/shard-00001.parquet"
    whole = storage.read_bytes(path)

    storage.write_bytes(path, whole[:-4] + b"XXXX")
    with pytest.raises(InputError, match=r"shard-00001\.parquet: sha256 is"):
        verify(storage, manifest)
    storage.write_bytes(path, whole[:-4])
    with pytest.raises(InputError, match=r"shard-00001\.parquet: has \d+ bytes"):
        verify(storage, manifest)
    storage.delete(path)
    with pytest.raises(InputError, match=r"shard-00001\.parquet: is missing"):
        verify(storage, manifest)
    storage.write_bytes(path, whole)
    storage.write_bytes(f"{latest.path}/shard-00002.parquet", whole)
    with pytest.raises(InputError, match=r"shard-00002\.parquet: is not listed"):
        verify(storage, manifest)


def test_files_of_other_tables_are_listed_and_checked(storage: Storage) -> None:
    run = RunFolder(storage, NEW)
    shards = write_shards(run, "a")
    folder = table_folder(run, "similar_items")
    assert folder == "similar_items/run_date=2026-11-22/run_id=2026-11-22-0123456789ab"
    stats = write_table(storage, f"{folder}/shard-00000.parquet", lists("a"), RECOMMENDATIONS)
    file = TableFile(name="shard-00000.parquet", rows=3, bytes=stats.bytes, sha256=stats.sha256)
    table = PublishedTable(path=folder, files=[file])
    wrong = PublishedTable(path=folder, files=[TableFile(**{**file, "bytes": 1})])
    with pytest.raises(InputError, match=r"similar_items/.*shard-00000\.parquet: has \d+ bytes, the manifest says 1"):
        write_manifest(run, shards, DETAILS | {"tables": {"similar_items": wrong}})
    assert publish(run, write_manifest(run, shards, DETAILS | {"tables": {"similar_items": table}}), "m1")
    latest = read_latest(storage)
    assert latest is not None
    manifest = read_manifest(storage, latest)
    assert manifest["tables"] == {"similar_items": table}
    verify(storage, manifest)
    storage.write_bytes(f"{folder}/shard-00001.parquet", b"")
    with pytest.raises(InputError, match=r"similar_items/.*shard-00001\.parquet: is not listed"):
        verify(storage, manifest)


@pytest.mark.parametrize(
    "change", [{"run_date": "2026-11-29"}, {"model_id": "m2"}, {"path": "recommendations"}, {"run_id": OLD}]
)
def test_a_pointer_with_a_wrong_value_leads_nowhere_and_can_be_written_again(
    storage: Storage, change: dict[str, str]
) -> None:
    run = RunFolder(storage, NEW)
    assert night(storage, NEW, "a")
    assert lost_pointer(run) is None
    right = storage.read_json(LATEST)
    storage.write_json(LATEST, right | change)
    with pytest.raises(InputError, match=r"but the pointer to it says|_MANIFEST\.json: is missing"):
        read_manifest(storage, require_latest(storage))
    pointer = lost_pointer(run)
    assert pointer is not None
    assert publish(run, pointer.manifest_sha256, pointer.model_id)
    assert storage.read_json(LATEST) == right | {"published_at": storage.read_json(LATEST)["published_at"]}
    storage.delete(LATEST)
    assert lost_pointer(run) == published(storage, NEW)


def test_a_changed_manifest_is_refused(storage: Storage) -> None:
    assert night(storage, NEW, "a")
    latest = read_latest(storage)
    assert latest is not None
    path = f"{latest.path}/{MANIFEST}"
    storage.write_bytes(path, storage.read_bytes(path) + b" ")
    for call in (lambda: read_manifest(storage, latest), lambda: published(storage, NEW)):
        with pytest.raises(InputError, match=r"_MANIFEST\.json: sha256 is"):
            call()
    storage.delete(path)
    assert published(storage, NEW) is None
    with pytest.raises(InputError, match=r"_MANIFEST\.json: is missing"):
        read_manifest(storage, latest)
    with pytest.raises(InputError, match="is missing"):
        publish(RunFolder(storage, OLD), "0" * 64, "m1")


GOOD = {
    "run_id": NEW,
    "run_date": "2026-11-22",
    "path": "recommendations/x",
    "model_id": "m1",
    "published_at": "2026-11-23T00:00:00+00:00",
    "manifest_sha256": "0",
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"run_id": "2026',
        b"\xff",
        b"[]",
        b"{}",
        json.dumps({**GOOD, "run_date": "soon"}).encode(),
        json.dumps({**GOOD, "path": "../../etc"}).encode(),
        json.dumps({**GOOD, "model_id": 3}).encode(),
    ],
)
def test_a_damaged_pointer_is_reported_by_name(storage: Storage, content: bytes) -> None:
    storage.write_bytes(LATEST, content)
    with pytest.raises(InputError, match=r"LATEST\.json.*restore the file, or delete it"):
        read_latest(storage)


def test_a_pointer_may_carry_more_than_we_know(storage: Storage) -> None:
    storage.write_json(LATEST, {**GOOD, "added_later": 1})
    assert read_latest(storage) is not None


def test_versions_name_what_is_installed() -> None:
    versions = package_versions()
    assert versions["torch"] == importlib.metadata.version("torch")
    assert {"python", "ray", "pyarrow", "recsys"} <= set(versions)


class PowerCut(BaseException):
    """The machine is gone: nothing in the product catches this."""


class Interrupted(Storage):
    """A storage whose n-th write is cut off, just before it is done or just after."""

    def __init__(self, root: str, cut_at: int, after: bool) -> None:
        super().__init__(root)
        object.__setattr__(self, "state", {"writes": 0, "cut_at": cut_at, "after": after})

    state: dict[str, Any]

    @contextlib.contextmanager
    def _write(self) -> Iterator[None]:
        self.state["writes"] += 1
        cut = self.state["writes"] >= self.state["cut_at"]  # a dead machine writes nothing later either
        if cut and not (self.state["after"] and self.state["writes"] == self.state["cut_at"]):
            raise PowerCut
        yield
        if cut:
            raise PowerCut

    def write_bytes(self, path: str, data: bytes) -> None:
        with self._write():
            super().write_bytes(path, data)

    def create_bytes(self, path: str, data: bytes) -> bool:
        with self._write():
            return super().create_bytes(path, data)

    def swap_bytes(self, path: str, data: bytes, expected: bytes | None) -> bool:
        if expected is None:  # it creates the file, which counts
            return super().swap_bytes(path, data, expected)
        with self._write():
            return super().swap_bytes(path, data, expected)

    @contextlib.contextmanager
    def new_file(self, path: str) -> Iterator[NewFile]:
        with self._write(), super().new_file(path) as file:
            yield file


@pytest.mark.parametrize("after", [False, True])
def test_a_reader_sees_the_old_night_or_the_new_one_whenever_the_power_goes(root: str, after: bool) -> None:
    storage = Storage(root)
    assert night(storage, OLD, "old")
    seen = []
    for cut_at in range(1, 100):
        # Every cut has a night of its own, so that it begins from nothing.
        new = f"2026-11-22-{cut_at:012d}"
        before = read_night(storage)
        wanted = f"new{cut_at}-0 new{cut_at}-1"
        interrupted = Interrupted(root, cut_at, after)
        with contextlib.suppress(PowerCut):
            night(interrupted, new, f"new{cut_at}-")
        found = read_night(storage)
        assert found in (before, wanted)
        seen.append(found == wanted)
        if interrupted.state["writes"] < cut_at:
            break
        storage.delete_folder(f"locks/{new[:10]}")  # the dead machine's lease has expired
        assert night(storage, new, f"new{cut_at}-")
        assert read_night(storage) == wanted
    # lease, two shards, stage, manifest, pointer, receipt, release: cuts fell on both sides of the pointer
    assert len(seen) == 9
    assert seen == sorted(seen)
    assert seen.index(True) == (5 if after else 6)


def test_a_night_that_resumes_elsewhere_keeps_its_shards(root: str) -> None:
    """The second attempt must publish what the first one wrote, not a mixture."""
    with pytest.raises(PowerCut):
        night(Interrupted(root, 5, after=False), NEW, "first")
    storage = Storage(root)
    storage.delete_folder(f"locks/{NEW[:10]}")
    assert night(storage, NEW, "second")
    assert read_night(storage) == "first0 first1"
