"""Users that are named on a command line: any id that the data may hold."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import shards_of
from recsys.data.values.ids import normal_id
from recsys.errors import InputError
from recsys.schema import HISTORIES
from recsys.storage.runs import RunFolder
from recsys.storage.tables import iter_batches

_BATCH_ROWS = 65_536


class CommandLine(argparse.ArgumentParser):
    """A command line that says how ids which begin with `-` are written."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        takes_ids = "USER_ID" in self.format_usage()
        if takes_ids and (message.startswith("unrecognized arguments: -") or "expected one argument" in message):
            message += "; write -- before ids that begin with -, such as: -- -5"
        super().error(message)


def user_id(text: str) -> str:
    """The id of one argument, as the night spells it.

    Raises:
        argparse.ArgumentTypeError: it is empty, or no UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no UTF-8 text") from error
    if not text:
        raise argparse.ArgumentTypeError("a user id has at least one character")
    return normal_id(text)


def named(user_ids: Sequence[str]) -> str:
    """The ids in a message: each in quotes, since an id may hold blanks and commas."""
    return f"{'users' if len(user_ids) > 1 else 'user'} {', '.join(map(repr, user_ids))}"


def read_histories(run: RunFolder, user_ids: Sequence[str], num_shards: int) -> pa.Table:
    """HISTORIES of these users, in the order of their ids, each once; reads only their shards.

    Raises:
        InputError: the run did not know a user, its histories are deleted, or a shard is damaged.
    """
    wanted = list(dict.fromkeys(user_ids))
    present = set(run.storage.list(run.histories_dir))
    if not present:
        raise InputError(f"{named(wanted)}: nothing is known in run {run.run_id}, since its histories are deleted")
    paths = [
        f"{run.histories_dir}/{name}"
        for shard in shards_of(pa.array(wanted, pa.string()), num_shards)
        if (name := f"{shard}.parquet") in present
    ]
    batches = (batch for path in paths for batch in iter_batches(run.storage, path, _BATCH_ROWS))
    theirs = (batch.filter(pc.is_in(batch["user_id"], value_set=pa.array(wanted, pa.string()))) for batch in batches)
    found = pa.concat_tables([HISTORIES.empty_table(), *theirs], promote_options="default")  # there may be texts too
    known = {user: row for row, user in enumerate(found["user_id"].to_pylist())}
    if missing := [user for user in wanted if user not in known]:
        raise InputError(
            f"{named(missing)}: not known in run {run.run_id}; a user needs an accepted interaction up to the night's "
            f"date (rows that were refused are in {run.storage.url(run.quarantine_dir)})"
        )
    return found.take(pa.array([known[user] for user in wanted], pa.int64()))
