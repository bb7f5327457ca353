"""How fast does the live service find a user's list among a million rows, and what do small row groups cost?

    python tests/benchmarks/lookup.py [--rows 1000000] [--lookups 2000] [--row-groups 65536,2048]

Writes lists of made-up users into a temporary folder, once for each row-group size, and looks up random users in
another process. Prints wall time and CPU time per look-up in ms (p50, p99; other work disturbs CPU time less), bytes
of the files, and how many MB the process grew. Three passes: nothing cached; footers cached, other users; answers
cached, the same users again. The files are in the page cache in all of them. Target: p99 ≤ 20 ms on two cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import shard_of
from recsys.pipeline.workers.memory import peak_memory_mb, reset_peak_memory
from recsys.schema import RECOMMENDATIONS
from recsys.storage.filesystem import Storage
from recsys.storage.lookup import KeyedFiles
from recsys.storage.tables import write_table

NUM_SHARDS, LIST_LENGTH, NUM_ITEMS = 16, 20, 10_000
PASSES = ("nothing kept", "footers kept", "answers kept")
WHAT = ("p50", "p99", "p50 of a core", "p99 of a core")
WORDS = ("oak", "copper", "desk", "lamp", "vase", "heart", "red", "lantern", "blue", "set", "glass", "bowl", "cake")
REASONS = {
    "ranker": "in line with your history",
    "transitions": "often chosen with {}",
    "ease": "chosen by people who chose {}",
    "text": "similar to {}",
}


def user_ids(num_users: int) -> pa.Array:
    """The made-up users, in the order of their ids."""
    return pa.array([f"u{number:08d}" for number in range(0, 7 * num_users, 7)])


def lists(users: pa.Array, random: np.random.Generator) -> pa.Table:
    """RECOMMENDATIONS of some users. Popular items come more often, and reasons name items."""
    num = len(users) * LIST_LENGTH
    titles = [f"{' '.join(random.choice(WORDS, 3))} {number}" for number in range(NUM_ITEMS)]
    sources = random.choice(list(REASONS), num)
    named = random.integers(0, NUM_ITEMS, num)
    columns = {
        "user_id": users.take(pa.array(np.repeat(np.arange(len(users)), LIST_LENGTH))),
        "rank": pa.array(np.tile(np.arange(1, LIST_LENGTH + 1, dtype=np.int16), len(users))),
        "item_id": pa.array([f"i{item:06d}" for item in random.zipf(1.2, num) % NUM_ITEMS]),
        "score": pa.array(-np.sort(random.random((len(users), LIST_LENGTH), dtype=np.float32)).ravel()),
        "source": pa.array(sources),
        "reason": pa.array([REASONS[source].format(titles[row]) for source, row in zip(sources, named, strict=True)]),
        "variant": pa.repeat("default", num),
    }
    return pa.table(columns, schema=RECOMMENDATIONS)


def write_night(folder: str, num_users: int, row_group_size: int) -> int:
    """Write the lists of all users, shard by shard; return the number of bytes."""
    users, storage, random = user_ids(num_users), Storage(folder), np.random.default_rng(0)
    shards = shard_of(users, NUM_SHARDS)
    num_bytes = 0
    for shard in range(NUM_SHARDS):
        table = lists(users.filter(pa.array(shards == shard)), random)
        num_bytes += write_table(storage, f"{shard}.parquet", table, RECOMMENDATIONS, row_group_size).bytes
    return num_bytes


def look_up(folder: str, num_users: int, num_lookups: int) -> dict[str, float]:
    """Measure the three passes over written lists, in this process."""
    users = user_ids(num_users)
    files = KeyedFiles(Storage(folder), {str(shard): f"{shard}.parquet" for shard in range(NUM_SHARDS)}, "user_id")
    random = np.random.default_rng(1)
    drawn = random.choice(num_users, 2 * num_lookups, replace=False)
    first, others = drawn[:num_lookups], drawn[num_lookups:]
    figures: dict[str, float] = {}
    reset_peak_memory()
    before = peak_memory_mb()
    for name, chosen in zip(PASSES, (first, others, others[::-1]), strict=True):
        asked = users.take(pa.array(chosen))
        pairs = list(zip(asked.to_pylist(), (str(shard) for shard in shard_of(asked, NUM_SHARDS)), strict=True))
        seconds: list[tuple[float, float]] = []
        for user, shard in pairs:
            start, cpu = time.perf_counter(), time.thread_time()
            rows = files.rows(shard, user)
            seconds.append((time.perf_counter() - start, time.thread_time() - cpu))
            assert len(rows) == LIST_LENGTH
            assert pc.all(pc.equal(rows["user_id"], user)).as_py()
        for percent in (50, 99):
            wall, core = np.percentile(seconds, percent, axis=0)
            figures[f"{name}, p{percent}"], figures[f"{name}, p{percent} of a core"] = 1000 * wall, 1000 * core
    figures["MB grown"] = peak_memory_mb() - before
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--lookups", type=int, default=2_000)
    parser.add_argument("--row-groups", default="65536,2048")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    num_users = options.rows // LIST_LENGTH
    if options.measure:
        sys.stdout.write(json.dumps(look_up(str(options.measure), num_users, options.lookups)))
        return
    for row_group_size in map(int, options.row_groups.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            num_bytes = write_night(folder, num_users, row_group_size)
            command = [sys.executable, __file__, *sys.argv[1:], "--measure", folder]
            figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        size = f"{num_bytes / 1e6:.1f} MB of files"
        sys.stdout.write(f"{row_group_size} rows a group, {size}, {figures['MB grown']:.0f} MB grown\n")
        for name in PASSES:
            of_name = (f"{what} {figures[f'{name}, {what}']:.3f} ms" for what in WHAT)
            sys.stdout.write(f"  {name}: {', '.join(of_name)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
