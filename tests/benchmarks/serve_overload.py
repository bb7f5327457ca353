"""A row of `serve.py`: many more requests than the service can answer."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
from quality import say
from serve_bench import LIMIT_MS, Bench, Found, counted
from serve_bodies import anonymous_histories
from serve_client import Reply, at_rate, client
from serve_load import find_throughput, load
from serve_processes import Server, memory_mb, service

OVERLOAD = 10


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
        f"{p99_ms:.0f} ms = **{p99_ms / alone.p99_ms:.1f}×** of {alone.p99_ms:.0f} ms; {counted(statuses)}; memory "
        f"{before:,.0f} → {after:,.0f} MB (most {most:,.0f})"
    )
    reached = p99_ms <= 5 * alone.p99_ms and set(statuses) <= {200, 429} and after <= 1.05 * before
    return Found(text=text, must=reached, goal=reached, figures=figures)


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
