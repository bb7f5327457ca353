"""Rows of `serve.py`: latency of one client, throughput of many, and the same model behind another server."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from quality import say
from serve_bench import LIMIT_MS, Bench, Found
from serve_bodies import anonymous_histories, candidate_sets, searches
from serve_load import Timings, best_within, find_throughput, load
from serve_processes import Server, peer, service
from speed import spread

from recsys.serving.contracts import RANK_PATH, RECOMMENDATIONS_PATH

NUM_CANDIDATES = 100


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


def _throughput_text(best: Timings | None) -> str:
    if best is None:
        return f"no number of clients keeps p99 ≤ {LIMIT_MS:g} ms"
    return f"**{best.per_s:.0f}/s**, {best.clients} clients, p50 / p99 {best.p50_ms:.0f} / {best.p99_ms:.0f} ms"


def _middle(turns: list[Timings]) -> str:
    rate, p99_ms = (float(np.median([getattr(turn, name) for turn in turns])) for name in ("per_s", "p99_ms"))
    return f"{rate:.0f}/s with {turns[0].clients} clients, p99 {p99_ms:.0f} ms"
