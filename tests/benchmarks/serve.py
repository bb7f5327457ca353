"""Measures the live service: latency, throughput, overload, new nights, killed replicas. `make bench-serve`.

    python tests/benchmarks/serve.py [--rows personalized,rank,query,light_query,throughput,peer,overload,…]
        [--seconds 20] [--rounds 5] [--swaps 100] [--kills 5] [--quick]

Prints a Markdown table and writes bench/serve.json. The service starts as a user starts it, with a night of 10,000
items (`serve_nights.py`). The load comes over loopback from wrk, or from `serve_client.py` where replies are checked.
Service and load share the same cores. All settings are at their defaults except those that a row names.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe
from quality import ROOT, say
from serve_bodies import anonymous_histories, candidate_sets, searches
from serve_client import Client, Reply, again_and_again, at_rate, client
from serve_load import Timings, best_within, find_throughput, load, require_wrk
from serve_nights import EDITIONS, Nights, make_nights
from serve_processes import Server, memory_mb, peer, service
from speed import spread

from recsys.serving.contracts import RANK_PATH, RECOMMENDATIONS_PATH
from recsys.storage.filesystem import Storage
from recsys.storage.latest import LATEST

LIMIT_MS = 100.0
OVERLOAD = 10
NUM_CANDIDATES = 100


@dataclass(frozen=True, kw_only=True)
class Found:
    """The result of a row."""

    text: str
    must: bool
    goal: bool
    figures: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A question and the limits that the answer must keep."""

    what: str
    asked: str
    measure: Callable[["Bench"], Found]


class Bench:
    """A run of the benchmark: nights, request bodies and durations."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.folder: Path = options.out.resolve() / "serve"
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def seconds(self) -> float:
        return float(self.options.seconds)

    def nights(self, name: str, number: int = 1) -> Nights:
        """A warehouse of `serve_nights.py`. Publishes the oldest of its nights."""
        nights = make_nights(self.folder, name, number)
        Storage(str(nights.warehouse)).write_bytes(LATEST, nights.pointers[0])
        return nights

    def bodies(self, name: str, made: Sequence[dict[str, Any]]) -> Path:
        """A file of request bodies, one per line."""
        path = self.folder / f"{name}.jsonl"
        path.write_text("".join(f"{json.dumps(body)}\n" for body in made))
        return path


def personalized(bench: Bench) -> Found:
    """One client that sends histories of anonymous users."""
    nights = bench.nights("small")
    bodies = bench.bodies("histories", anonymous_histories(nights, 2_000))
    with service(nights) as ours:
        return _latency(ours, bodies, "personalized", bench, must=(15, 40), goal=(8, 20))


def rank(bench: Bench) -> Found:
    """One client that has 100 candidates ranked for histories of anonymous users."""
    nights = bench.nights("small")
    bodies = bench.bodies("candidates", candidate_sets(nights, 2_000, NUM_CANDIDATES))
    with service(nights) as ours:
        return _latency(ours, bodies, "personalized", bench, must=(np.inf, 20), goal=(np.inf, 10), path=RANK_PATH)


def query(bench: Bench) -> Found:
    """One client that sends searches. MiniLM encodes each for the first time."""
    nights = bench.nights("minilm")
    bodies = bench.bodies("searches", searches(nights, 5_000))
    with service(nights) as ours:
        return _latency(ours, bodies, "query", bench, must=(np.inf, 60), goal=(np.inf, 30))


def light_query(bench: Bench) -> Found:
    """The same with MiniLM in int8, which ONNX Runtime runs."""
    nights = bench.nights("light")
    bodies = bench.bodies("searches", searches(nights, 5_000))
    with service(nights) as ours:
        return _latency(ours, bodies, "query", bench, must=(np.inf, 15), goal=(np.inf, 8))


def throughput(bench: Bench) -> Found:
    """As many clients as possible within the latency limit."""
    nights = bench.nights("small")
    bodies = bench.bodies("histories", anonymous_histories(nights, 2_000))
    with service(nights) as ours:
        load(ours.url, bodies, "personalized", 4, bench.seconds / 4)
        found = find_throughput(ours.url, bodies, "personalized", bench.seconds / 2, LIMIT_MS)
    best = best_within(found, LIMIT_MS)
    return Found(
        text=_throughput_text(best),
        must=best is not None and best.per_s >= 60,
        goal=best is not None and best.per_s >= 150,
        figures={"clients": [asdict(timings) for timings in found]},
    )


def against_peer(bench: Bench) -> Found:
    """Ours and plain FastAPI, in turns, each with its best number of clients."""
    nights = bench.nights("small")
    bodies = bench.bodies("histories", anonymous_histories(nights, 2_000))
    with service(nights) as ours, peer(nights) as theirs:
        clients = {}
        for server in (ours, theirs):
            load(server.url, bodies, "personalized", 4, bench.seconds / 4)
            found = find_throughput(server.url, bodies, "personalized", bench.seconds / 4, LIMIT_MS)
            best = best_within(found, LIMIT_MS) or best_within(found, np.inf) or found[0]
            clients[server.url] = best.clients
        turns: dict[str, list[Timings]] = {url: [] for url in clients}
        for number in range(bench.options.rounds):
            say(f"peer: round {number + 1} of {bench.options.rounds}")
            for url, at_once in clients.items():
                turns[url].append(load(url, bodies, "personalized", at_once, bench.seconds / 2))
    mine, other = turns[ours.url], turns[theirs.url]
    ratio = spread([one.per_s / two.per_s for one, two in zip(mine, other, strict=True)])
    text = f"**{ratio['median']:.2f}×** ({ratio['p10']:.2f}–{ratio['p90']:.2f}): {_middle(mine)}; peer {_middle(other)}"
    return Found(
        text=text,
        must=ratio["median"] >= 1,
        goal=ratio["median"] >= 2,
        figures={"ratio": ratio, "ours": [asdict(turn) for turn in mine], "peer": [asdict(turn) for turn in other]},
    )


def overload(bench: Bench) -> Found:
    """Ten times as many requests as the service can answer, at a steady rate."""
    nights = bench.nights("small")
    made = anonymous_histories(nights, 2_000)
    path, bodies = bench.bodies("histories", made), [json.dumps(body).encode() for body in made]
    seconds = 6.0 if bench.options.quick else 60.0
    with service(nights) as ours:
        found = find_throughput(ours.url, path, "personalized", bench.seconds / 4, LIMIT_MS)
        capacity = max(timings.per_s for timings in found if timings.is_clean)
        alone = load(ours.url, path, "personalized", 1, bench.seconds / 2)
        before = memory_mb(ours.processes())
        say(f"overload: capacity {capacity:.0f}/s, sending {OVERLOAD * capacity:.0f}/s for {seconds:g} s")
        replies, memory = asyncio.run(_flood(ours, bodies, OVERLOAD * capacity, seconds))
        start = min(reply.sent for reply in replies)
        asked_s = max(reply.sent for reply in replies) - start
        answered_s = max(reply.sent + reply.seconds for reply in replies) - start
        after = memory_mb(ours.processes())
        then = load(ours.url, path, "personalized", 1, bench.seconds / 2)
    statuses = Counter(reply.status for reply in replies)
    accepted = [reply for reply in replies if reply.status == 200]
    p99_ms = 1000 * float(np.quantile([reply.seconds for reply in accepted], 0.99)) if accepted else np.inf
    offered, most = len(replies) / asked_s, max(memory, default=after)
    refused_ms = [1000 * reply.seconds for reply in replies if reply.status == 429]
    figures = {
        "capacity_per_s": capacity,
        "offered_per_s": offered,
        "alone_p99_ms": alone.p99_ms,
        "accepted_p99_ms": p99_ms,
        "accepted_per_s": len(accepted) / answered_s,
        "seconds": {"asked": asked_s, "until_all_answered": answered_s},
        "refused_p99_ms": float(np.quantile(refused_ms, 0.99)) if refused_ms else None,
        "refused_without_retry_after": sum(reply.status == 429 and not reply.retry_after for reply in replies),
        "fallbacks": sum(b'"strategy":"personalized"' not in reply.body for reply in accepted),
        "statuses": {str(status): number for status, number in sorted(statuses.items())},
        "memory_mb": {"before": before, "most": most, "after": after},
        "p99_ms_afterwards": then.p99_ms,
    }
    text = (
        f"{offered:,.0f}/s offered ({offered / capacity:.1f}×); accepted {len(accepted) / answered_s:.0f}/s, p99 "
        f"{p99_ms:.0f} ms = **{p99_ms / alone.p99_ms:.1f}×** of {alone.p99_ms:.0f} ms; {_counted(statuses)}; memory "
        f"{before:,.0f} → {after:,.0f} MB (most {most:,.0f})"
    )
    reached = p99_ms <= 5 * alone.p99_ms and set(statuses) <= {200, 429} and after <= 1.05 * before
    return Found(text=text, must=reached, goal=reached, figures=figures)


def swaps(bench: Bench) -> Found:
    """Publish two nights in turn under load. Each reply must be an answer of one of them."""
    nights = bench.nights("small", 2)
    bodies = [json.dumps(body).encode() for body in anonymous_histories(nights, 64)]
    with service(nights, refresh_s=0.05, deadline_ms=30_000) as ours:
        return asyncio.run(_swap(ours, nights, bodies, bench.options.swaps))


def killed(bench: Bench) -> Found:
    """Kill one of two replicas under load, several times; each time after it has come back."""
    nights = bench.nights("small")
    bodies = [json.dumps(body).encode() for body in anonymous_histories(nights, 2_000)]
    with service(nights, replicas=2) as ours:
        return asyncio.run(_kill(ours, bodies, bench.options.kills))


def scaled(bench: Bench) -> Found:
    """Send more load than one replica should take, so that a second one starts."""
    nights = bench.nights("small")
    bodies = [json.dumps(body).encode() for body in anonymous_histories(nights, 2_000)]
    with service(nights, replicas=1, max_replicas=2) as ours:
        return asyncio.run(_scale(ours, bodies, bench.seconds))


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


def _latency(
    ours: Server,
    bodies: Path,
    strategy: str,
    bench: Bench,
    must: tuple[float, float],
    goal: tuple[float, float],
    path: str = RECOMMENDATIONS_PATH,
) -> Found:
    """One client; ``must`` and ``goal`` are p50 and p99 in ms."""
    load(ours.url, bodies, strategy, 1, bench.seconds / 4, path)
    turns = [load(ours.url, bodies, strategy, 1, bench.seconds / 2, path) for _ in range(bench.options.rounds)]
    p50, p99 = (spread([getattr(turn, name) for turn in turns]) for name in ("p50_ms", "p99_ms"))

    def keeps(limits: tuple[float, float]) -> bool:
        clean = all(turn.is_clean for turn in turns)
        return clean and p50["median"] <= limits[0] and p99["median"] <= limits[1]

    return Found(
        text=f"**{p50['median']:.1f} / {p99['median']:.1f} ms** ({p50['p10']:.1f}–{p50['p90']:.1f} / {p99['p10']:.1f}–"
        f"{p99['p90']:.1f})",
        must=keeps(must),
        goal=keeps(goal),
        figures={"p50_ms": p50, "p99_ms": p99, "turns": [asdict(turn) for turn in turns]},
    )


async def _flood(
    ours: Server, bodies: Sequence[bytes], per_s: float, seconds: float
) -> tuple[list[Reply], list[float]]:
    """All replies, and the memory measured during the load."""
    memory: list[float] = []
    processes = ours.processes()  # finding them takes 0.1 s, in which nothing would be sent

    async def watch() -> None:
        while True:
            await asyncio.sleep(5)
            memory.append(memory_mb(processes))

    watching = asyncio.create_task(watch())
    async with client(ours.url) as asks:
        replies = await at_rate(asks, bodies, per_s, seconds)
    watching.cancel()
    return replies, memory


async def _swap(ours: Server, nights: Nights, bodies: list[bytes], number: int) -> Found:
    storage = Storage(str(nights.warehouse))
    runs = [json.loads(pointer)["run_id"] for pointer in nights.pointers]
    start = time.perf_counter()
    async with client(ours.url) as asks:
        answers = {}
        for run, pointer in zip(runs, nights.pointers, strict=True):
            storage.write_bytes(LATEST, pointer)
            await _until_loaded(ours, run)
            answers[run] = [json.loads((await asks.ask(place, body)).body) for place, body in enumerate(bodies)]
        done = 0

        async def publish() -> None:
            nonlocal done
            while done < number:
                storage.write_bytes(LATEST, nights.pointers[done % 2])
                await _until_loaded(ours, runs[done % 2])
                done += 1

        publishing = asyncio.create_task(publish())
        asked = await again_and_again(asks, bodies, 4, lambda: not publishing.done())
        await publishing
    replies = [attempt for attempts in asked for attempt in attempts]
    errors = sum(reply.status != 200 for reply in replies)
    seen: Counter[str] = Counter()
    mixed = []
    for reply in (reply for reply in replies if reply.status == 200):
        answer = json.loads(reply.body)
        seen[answer["run_id"]] += 1
        if fault := _fault_of(answer, answers[answer["run_id"]][reply.place], runs.index(answer["run_id"])):
            mixed.append(fault)
    p99_ms = 1000 * float(np.quantile([reply.seconds for reply in replies], 0.99))
    sound = not errors and not mixed and len(seen) == len(runs)
    return Found(
        text=f"{done} swaps: **{errors} errors, {len(mixed)} mixed** of {len(replies):,} replies ({seen[runs[0]]:,} "
        f"and {seen[runs[1]]:,}); p99 {p99_ms:.0f} ms",
        must=sound and done >= 100,
        goal=sound and done >= 1000,
        figures={
            "swaps": done,
            "seconds": time.perf_counter() - start,
            "errors": errors,
            "mixed": mixed[:10],
            "num_mixed": len(mixed),
            "replies": dict(seen),
            "p99_ms": p99_ms,
        },
    )


def _fault_of(answer: dict[str, Any], alone: dict[str, Any], night: int) -> str | None:
    """The first part of a reply that is not from the night that it names; None if there is none.

    Args:
        answer: The reply.
        alone: The answer of that night to the same body when no other night is published.
        night: Number of the night that the reply names.
    """
    edition = list(EDITIONS.values())[night]
    if others := [item["title"] for item in answer["items"] if not item["title"].endswith(edition)]:
        return f"{answer['run_id']}: the title {others[0]}"
    if answer["model_id"] != alone["model_id"]:
        return f"{answer['run_id']}: the model {answer['model_id']}"
    scores, expected = ([item["score"] for item in one["items"]] for one in (answer, alone))
    if len(scores) != len(expected) or not np.allclose(scores, expected, atol=1e-3):
        return f"{answer['run_id']}: the scores {scores}, alone {expected}"
    return None


async def _until_loaded(ours: Server, run: str) -> None:
    """Wait until the service has loaded a night."""
    end = time.monotonic() + 120
    while (await asyncio.to_thread(ours.state)).get("run_id") != run:
        if time.monotonic() > end:
            raise SystemExit(f"the service did not load {run} within 120 s")
        await asyncio.sleep(0.02)


async def _kill(ours: Server, bodies: list[bytes], number: int) -> Found:
    """Kill replicas while eight clients send requests. A failed request is sent once more, as a client would do."""
    kills: list[tuple[float, int]] = []

    async def kill(asks: Client) -> None:
        for _ in range(number):
            await _until_both(ours)
            await asyncio.sleep(2)
            victim = (await asyncio.to_thread(ours.rankers))[0]
            kills.append((time.perf_counter(), asks.under_way))
            victim.kill()
            await asyncio.sleep(3)
            await _until_both(ours)
            assert victim.pid not in [ranker.pid for ranker in ours.rankers()], f"{victim.pid} outlived SIGKILL"

    async with client(ours.url) as asks:
        killing = asyncio.create_task(kill(asks))
        asked = await again_and_again(asks, bodies, 8, lambda: not killing.done(), retries=1)
        await killing
    firsts = [attempts[0] for attempts in asked]
    failed = [reply for reply in firsts if not 200 <= reply.status < 500]
    outside = [reply for reply in failed if not any(reply.sent <= at <= reply.sent + reply.seconds for at, _ in kills)]
    lost = sum(not 200 <= attempts[-1].status < 500 for attempts in asked)
    statuses = Counter(reply.status for reply in firsts)
    text = (
        f"{number} kills, {len(asked):,} requests: **{len(failed)} failed** of {sum(held for _, held in kills)} in "
        f"flight ({len(outside)} others), **{lost} after one retry**; {_counted(statuses)}"
    )
    return Found(
        text=text,
        must=not outside and not lost,
        goal=not outside and not lost,
        figures={
            "kills": len(kills),
            "requests": len(asked),
            "in_flight": [held for _, held in kills],
            "failed": len(failed),
            "failed_but_not_in_flight": len(outside),
            "failed_after_retry": lost,
            "statuses": {str(status): count for status, count in sorted(statuses.items())},
        },
    )


async def _scale(ours: Server, bodies: list[bytes], seconds: float) -> Found:
    """Eight clients send requests until two replicas are there, and for some seconds more."""
    start = time.perf_counter()

    async def grow() -> float:
        await _until_both(ours)
        found = time.perf_counter() - start
        await asyncio.sleep(2 * seconds)  # the second replica loads the night in the first half
        return found

    async with client(ours.url) as asks:
        growing = asyncio.create_task(grow())
        replies = [reply for (reply,) in await again_and_again(asks, bodies, 8, lambda: not growing.done())]
        until_two_s = await growing
    end = max(reply.sent for reply in replies)
    one, two = (
        sum(low <= reply.sent < low + seconds / 2 for reply in replies) / (seconds / 2)
        for low in (start, end - seconds / 2)
    )
    failed = sum(reply.status != 200 for reply in replies)
    return Found(
        text=f"the second after {until_two_s:.0f} s; **{failed} of {len(replies):,} failed**; {one:.0f} → {two:.0f}/s",
        must=not failed,
        goal=not failed,
        figures={"until_two_s": until_two_s, "failed": failed, "one_per_s": one, "two_per_s": two},
    )


async def _until_both(ours: Server) -> None:
    """Wait until two ranking replicas are there."""
    end = time.monotonic() + 120
    while len(await asyncio.to_thread(ours.rankers)) < 2:
        if time.monotonic() > end:
            raise SystemExit("the second replica did not start within 120 s")
        await asyncio.sleep(0.2)


def _throughput_text(best: Timings | None) -> str:
    if best is None:
        return f"no number of clients keeps p99 ≤ {LIMIT_MS:g} ms"
    return f"**{best.per_s:.0f}/s**, {best.clients} clients, p50 / p99 {best.p50_ms:.0f} / {best.p99_ms:.0f} ms"


def _middle(turns: list[Timings]) -> str:
    rate, p99_ms = (float(np.median([getattr(turn, name) for turn in turns])) for name in ("per_s", "p99_ms"))
    return f"{rate:.0f}/s with {turns[0].clients} clients, p99 {p99_ms:.0f} ms"


def _counted(statuses: "Counter[int]") -> str:
    return ", ".join(f"{number:,} × {status or 'no answer'}" for status, number in sorted(statuses.items()))


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
