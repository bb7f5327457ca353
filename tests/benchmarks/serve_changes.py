"""Rows of `serve.py`: what requests get while nights are published, and while replicas die and start."""

import asyncio
import json
import time
from collections import Counter
from typing import Any

import numpy as np
from serve_bench import Bench, Found, counted
from serve_bodies import anonymous_histories
from serve_client import Client, again_and_again, client
from serve_nights import EDITIONS, Nights
from serve_processes import Server, service

from recsys.storage.filesystem import Storage
from recsys.storage.latest import LATEST


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
        f"flight ({len(outside)} others), **{lost} after one retry**; {counted(statuses)}"
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
