"""Measures the live service: latency, throughput, overload, new nights, killed replicas. `make bench-serve`.

    python tests/benchmarks/serve.py [--rows personalized,rank,query,light_query,throughput,peer,overload,…]
        [--seconds 20] [--rounds 5] [--swaps 100] [--kills 5] [--quick]

Prints a Markdown table and writes bench/serve.json. The service starts as a user starts it, with a night of 10,000
items (`serve_nights.py`). The load comes over loopback from wrk, or from `serve_client.py` where replies are checked.
Service and load share the same cores. All settings are at their defaults except those that a row names.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import describe
from quality import ROOT, say
from serve_bench import Bench, Found
from serve_changes import killed, scaled, swaps
from serve_load import require_wrk
from serve_overload import overload
from serve_speed import against_peer, light_query, personalized, query, rank, throughput


@dataclass(frozen=True, kw_only=True)
class Row:
    """A question and the limits that the answer must keep."""

    what: str
    asked: str
    measure: Callable[[Bench], Found]


ROWS = {
    "personalized": Row(
        what="`personalized`, 1 client: p50 / p99", asked="≤ 15 / 40 ms | ≤ 8 / 20 ms", measure=personalized
    ),
    "rank": Row(
        what="`/v1/rank`, 100 candidates, 1 client: p50 / p99", asked="p99 ≤ 20 ms | p99 ≤ 10 ms", measure=rank
    ),
    "query": Row(what="`query` with MiniLM, 1 client: p50 / p99", asked="p99 ≤ 60 ms | p99 ≤ 30 ms", measure=query),
    "light_query": Row(
        what="`query` with MiniLM in int8, 1 client: p50 / p99", asked="p99 ≤ 15 ms | p99 ≤ 8 ms", measure=light_query
    ),
    "throughput": Row(what="`personalized` at p99 ≤ 100 ms", asked="≥ 60/s | ≥ 150/s", measure=throughput),
    "peer": Row(
        what="the same model behind plain FastAPI + uvicorn, in turns", asked="≥ 1× | ≥ 2×", measure=against_peer
    ),
    "overload": Row(
        what="10 × the capacity, 60 s",
        asked="accepted p99 ≤ 5× the unloaded, the rest 429, no 5xx, memory flat |",
        measure=overload,
    ),
    "swaps": Row(
        what="a new night published repeatedly, under load",
        asked="100 times: 0 errors, each reply from one night | 1,000 times",
        measure=swaps,
    ),
    "killed": Row(
        what="one of two replicas killed, under load",
        asked="only requests in flight fail; 0 after one retry |",
        measure=killed,
    ),
    "scaled": Row(what="scaling from one replica to two, under load", asked="no request fails |", measure=scaled),
}


def main() -> int:
    """Measure each row, then print and write the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=lambda text: text.split(","), default=list(ROWS))
    options.add_argument("--seconds", type=float, default=20, help="of load per figure (half of it per round)")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--swaps", type=int, default=100)
    options.add_argument("--kills", type=int, default=5)
    options.add_argument("--cores", type=int, default=2, help="shared by service and load")
    options.add_argument(
        "--quick", action="store_true", help="short: only checks that everything runs, without a verdict"
    )
    options.add_argument("--out", type=Path, default=ROOT / "bench")
    arguments = options.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        options.error(f"no row {', '.join(sorted(unknown))}; known: {', '.join(ROWS)}")
    if arguments.quick:
        arguments.seconds, arguments.rounds, arguments.swaps, arguments.kills = 4, 2, 3, 1
    require_wrk()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    bench = Bench(arguments)
    written: dict[str, Any] = {
        "machine": describe(),
        "quick": arguments.quick,
        "seconds": arguments.seconds,
        "rows": {},
    }
    head = ["what", "measured", "must", "goal", "reached", "load average before"]
    sys.stdout.write("| " + " | ".join(head) + " |\n|" + " --- |" * len(head) + "\n")
    for key in arguments.rows:
        row, busy = ROWS[key], os.getloadavg()[0]
        say(f"{key} …")
        found = row.measure(bench)
        reached = "goal" if found.goal else "must" if found.must else "missed"
        reached = "not judged" if arguments.quick else reached
        written["rows"][key] = {"reached": reached, "load_average": busy, **found.figures}
        sys.stdout.write(f"| {row.what} | {found.text} | {row.asked} | {reached} | {busy:.1f} |\n")
        sys.stdout.flush()
    (bench.folder.parent / "serve.json").write_text(json.dumps(written, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
