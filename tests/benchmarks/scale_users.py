"""Does scoring time grow in step with the users, at constant memory? Runs the demo shop with N and with 10 N users.

    python tests/benchmarks/scale_users.py [--users 5000] [--factor 10] [--out DIR]

Prints for both sizes: seconds of scoring without loading the model, users per second, and the largest peak memory of a
worker; then the ratios. Target: 10 × the users take ≤ 11 × the time and ≤ 1.1 × the memory.
"""

import argparse
import datetime as dt
import json
import sys
import tempfile
from pathlib import Path

from recsys.data.synthetic.shop import make_shop, write_shop
from recsys.pipeline.list_records import WrittenShard
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run_stages import run_stages
from recsys.pipeline.stages import (
    ENCODE_TEXTS,
    FINETUNE,
    INGEST_CATALOG,
    INGEST_EVENTS,
    SHUFFLE_HISTORIES,
    WRITE_LISTS,
)
from recsys.pipeline.workers.cluster import cluster
from recsys.pipeline.workers.cpu_needs import min_cpus
from recsys.settings import Config, load_config

END = dt.date(2026, 11, 22)
STAGES = (INGEST_CATALOG, INGEST_EVENTS, SHUFFLE_HISTORIES, ENCODE_TEXTS, FINETUNE, WRITE_LISTS)


def config_for(folder: Path) -> Config:
    """The demo's settings for the shop in `folder`; one epoch, since only scoring is measured."""
    return load_config(
        "configs/demo.yaml",
        [
            f"storage={folder}/warehouse",
            f"inputs.events.path={folder}/events",
            f"inputs.items.path={folder}/items.parquet",
            "train.epochs=1",
            "train.max_events_per_user=20",
            "recommend.num_workers=1",
        ],
    )


def measure(folder: Path, num_users: int) -> dict[str, float]:
    """Run a night up to its lists; return what scoring took."""
    write_shop(make_shop(num_users=num_users, num_items=600, num_days=90, seed=0, end=END), folder)
    run = open_run(config_for(folder))
    with cluster(min_cpus(run.config)):
        run_stages(run, STAGES)
    parts = run.parts(WRITE_LISTS, WrittenShard).values()
    seconds = sum(part.seconds for part in parts)
    users = sum(part.users for part in parts)
    return {
        "users": users,
        "seconds": round(seconds, 2),
        "users_per_s": round(users / seconds, 1),
        "peak_memory_mb": round(max(part.peak_memory_mb for part in parts), 1),
    }


def main() -> int:
    """Measure both sizes and print the ratios as JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--users", type=int, default=5000)
    options.add_argument("--factor", type=int, default=10)
    options.add_argument("--out", type=Path, help="folder for shops and warehouses; default: a temporary one")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary)
        few = measure(folder / "few", arguments.users)
        many = measure(folder / "many", arguments.users * arguments.factor)
    ratios = {
        "users": round(many["users"] / few["users"], 2),
        "time": round(many["seconds"] / few["seconds"], 2),
        "memory": round(many["peak_memory_mb"] / few["peak_memory_mb"], 3),
    }
    sys.stdout.write(json.dumps({"few": few, "many": many, "ratios": ratios}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
