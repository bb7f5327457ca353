"""What must be true after each fault."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.errors import RecsysError
from recsys.storage.filesystem import Storage
from recsys.storage.latest import Latest, read_latest
from recsys.storage.manifest import read_manifest, verify
from recsys.storage.publish import published
from recsys.storage.runs import RunFolder
from tests.faults.findings import LostError, TracebackError
from tests.faults.night import Night

#: Exit codes of a job, see `recsys.errors`.
DOCUMENTED = range(6)
#: Name of a shard of lists: its sha256.
Hashes = dict[str, str]


def check_output(night: Night, *codes: int) -> None:
    """A night that ended by itself: with one of these exit codes, one line of JSON, and a log without a traceback."""
    code = night.wait()
    if code < 0:
        return  # killed: it had no time to say anything
    said = night.said
    shown = f"exit code {code}, log {night.err}:\n{said[-3000:]}"
    if "Traceback" in said or "Traceback" in night.out.read_text():
        raise TracebackError(shown)
    if code not in (codes or DOCUMENTED):
        raise TracebackError(f"exit code {code}, not one of {list(codes or DOCUMENTED)}; {shown}")
    try:
        night.answer()
        for line in said.splitlines():
            json.loads(line)
    except (ValueError, IndexError) as error:
        raise TracebackError(f"the output has a line that is not ours ({error}); {shown}") from error


def check_published(root: str | Path, run_id: str | None = None, *, expected: Hashes | None = None) -> Latest:
    """The published night, or that of a run: its hashes are true, and it has each user exactly once per rank.

    Args:
        root: Of the storage.
        run_id: None: the night that LATEST names.
        expected: The shards of an undisturbed run.
    """
    storage = Storage(str(root))
    try:
        latest = read_latest(storage) if run_id is None else published(storage, run_id)
        if latest is None:
            raise LostError(f"{root}: {run_id or 'no night'} is not published")
        manifest = read_manifest(storage, latest)
        verify(storage, manifest)
    except RecsysError as error:
        raise LostError(str(error)) from error
    found = {shard["name"]: shard["sha256"] for shard in manifest["shards"]}
    if expected is not None and found != expected:
        raise LostError(
            f"{root}: the lists of {latest.run_id} are not those of an undisturbed run: {found}, {expected}"
        )
    lists = _read(storage, latest.path, sorted(found), ["user_id", "rank", "item_id"])
    histories = RunFolder(storage, latest.run_id).histories_dir
    users = _read(storage, histories, storage.list(histories), ["user_id"])
    check_lists(lists, set(users["user_id"].to_pylist()), latest.run_id)
    return latest


def check_lists(lists: pa.Table, users: set[str], run_id: str) -> None:
    """Every user has a list; ranks run from 1 without a gap, and no item comes twice."""
    frame = lists.to_pandas()
    if missing := users.symmetric_difference(frame.user_id):
        raise LostError(f"{run_id}: {len(missing)} users without a list, or unknown, such as {min(missing)}")
    for user, rows in frame.sort_values("rank").groupby("user_id"):
        if rows["rank"].tolist() != list(range(1, len(rows) + 1)) or not rows.item_id.is_unique:
            raise LostError(
                f"{run_id}: the list of {user} has ranks {rows['rank'].tolist()}, items {list(rows.item_id)}"
            )


def hashes_of(root: str | Path, run_id: str | None = None) -> Hashes:
    """The shards of the night that LATEST names, or of another run."""
    storage = Storage(str(root))
    latest = read_latest(storage) if run_id is None else published(storage, run_id)
    assert latest is not None
    return {shard["name"]: shard["sha256"] for shard in read_manifest(storage, latest)["shards"]}


def _read(storage: Storage, folder: str, names: list[str], columns: list[str]) -> pa.Table:
    pieces = []
    for name in names:
        with storage.local_file(f"{folder}/{name}") as file:
            pieces.append(pq.read_table(file, columns=columns))
    return pa.concat_tables(pieces)
