"""Records of nights for the tests of the pages: complete ones, made-up ones over many days, and ones with gaps."""

import datetime as dt
from random import Random
from typing import Any

import pyarrow as pa

from recsys.report.config_changes import ConfigChange
from recsys.report.night_page import NightRecords
from recsys.report.night_summary import summarize
from recsys.report.sample_lists import SampleEntry, SampleList
from recsys.schema import REALIZED

HOSTILE = '<script>alert(1)</script> & $x^2$ "quoted"'

TIMING = {"seconds": 2.0, "cpu_seconds": 3.5, "rows": 1500, "rows_per_s": 750.0, "peak_memory_mb": 120.0}
ESTIMATE = {"mean": 0.2, "low": 0.15, "high": 0.25}
STAGES: dict[str, Any] = {
    "catalog": TIMING | {"reasons": {"no item_id": 3}, "quarantined": 3, "items": 40, "filtered": 0},
    "ingest": TIMING
    | {
        "filtered": 100,
        "later": 10,
        "accepted": 150,
        "quarantined": 1240,
        "reasons": {"bad timestamp": 1234, "long id": 5, "unreadable": 1},
        "examples": [
            {"reason": "bad timestamp", "column": "timestamp", "value": HOSTILE, "rows": 1234},
            {"reason": "long id", "column": "customer", "value": "somebody@example.org", "rows": 5},
            {"reason": "unreadable", "column": "", "value": "somebody@example.org,7", "rows": 1},
        ],
        "seconds": 4.0,
    },
    "histories": TIMING | {"users": 50, "duplicates": 5},
    "enrich": TIMING
    | {"enriched": 31, "written": 7, "waiting": 9, "refused": {HOSTILE: 2, "empty": 1}, "failed": {"status 503": 4}}
    | {"input_tokens": 4000, "output_tokens": 321, "cost": 0.5, "model": HOSTILE},
    "finetune": TIMING
    | {
        "epochs": 2,
        "best_epoch": 2,
        "history": [
            {"loss": 4.5, "validation_ndcg@10": 0.125, "windows_per_s": 5000.0},
            {"loss": 4.25, "validation_ndcg@10": 0.15, "candidate_pass_ndcg@10": 0.16, "windows_per_s": 5000.0},
        ],
    },
    "fuse": TIMING
    | {
        "gains": {"ranker": {"percent": 4.25, "low": -0.5, "high": 9.0, "users": 1200}},
        "validation_ndcg@10": 0.3,
        "validation_alone": {"popularity": 0.1, "transitions_history_decayed": 0.2},
        "weights": {"popularity": -0.5, "transitions_history_decayed": 1.25},
        "weights_short": {"popularity": 0.75},
    },
    "gate": TIMING
    | {
        "segments": [
            {
                "segment": segment,
                "metric": "ndcg@10",
                "users": 60,
                "model": ESTIMATE,
                "baselines": {
                    name: {"value": ESTIMATE, "difference": {"mean": -0.01, "low": -0.02, "high": 0.01}}
                    for name in ("popularity", "published")
                },
            }
            for segment in ("all", "history 1", "cold users")
        ]
    },
    "recommend": TIMING
    | {
        "recommendations": 240,
        "filtered": {"items": 40, "blocked": 7, "recommendable": 33},
        "reranked": {"candidates": 900, "moved": {"diversity": 21}},
    },
    "check": TIMING
    | {
        "figures": {"lists": 48, "coverage": 0.5, "items": 20, "short_share": 0.25},
        "concentration": {"gini": 0.625, "top_share": 0.125, "longtail_share": 0.375},
        "scores": {"lowest": -3.0, "width": 0.25, "first": [0, 2, 46], "others": [100, 90, 2]},
        "overlap": {
            "run_id": "2026-11-21-abc",
            "users": 40,
            "places": 10,
            "mean": 0.75,
            "tenths": [*[0] * 7, 20, 20, 0, 0],
        },
    },
}
GATE: dict[str, Any] = {
    "passed": True,
    "reason": "ndcg@10 0.2 against popularity's 0.1",
    "warnings": ["few users"],
    "metric": "ndcg@10",
    "model": 0.2,
    "baselines": {"popularity": {"mean": 0.1, "difference": {"mean": 0.1, "low": 0.05, "high": 0.15}}},
    "verdict": "overridden",
    "checks": [
        {
            "name": "schema",
            "verdict": "refused",
            "reason": "3 % of the lists break the contract of the table, such as: user 'somebody@example.org; x': the "
            "ranks are not 1 to n (item 'i1'); gate.max_invalid_lists is at most 0.0 %",
        },
        {"name": "users", "verdict": "refused", "reason": "the users with a list are 3.0 % of those of last night"},
        {"name": "coverage", "verdict": "not_examined", "reason": "no night was published before"},
    ],
    "overridden": ["users"],
}
SAMPLE = SampleList(
    user="0f843bf4b2c7",
    num_events=4,
    history=["Lamp & <b>", HOSTILE],
    recommended=[SampleEntry(rank=1, title=HOSTILE, score=-1.5, source="text", reason="similar to Lamp & <b>")],
)


def records(
    run_id: str = "2026-11-22-abc", stages: Any = STAGES, gate: Any = GATE, samples: Any = (SAMPLE,), **values: Any
) -> NightRecords:
    """What the page of a night is made of."""
    shown = {"config": "seed: 0\n", "changes": [ConfigChange("recommend.top_k", "5", HOSTILE)]}
    shown |= {"shown_columns": {"ingest": {"timestamp"}}} | values
    summary = summarize(run_id, stages, gate)
    return NightRecords(run_id=run_id, stages=stages, gate=gate, summary=summary, samples=samples, **shown)


def nights(number: int) -> list[NightRecords]:
    """One night after the other, each with figures of its own and with twenty sample lists."""
    random, first = Random(0), dt.date(2026, 10, 1)  # noqa: S311 (made-up figures)
    made = []
    for day in range(number):
        model = 0.2 + 0.001 * day + random.uniform(-0.01, 0.01)
        everyone = STAGES["gate"]["segments"][0] | {"model": {"mean": model, "low": model - 0.02, "high": model + 0.02}}
        history = [{"loss": 5 - 0.1 * epoch, "validation_ndcg@10": 0.1 + 0.01 * epoch} for epoch in range(15)]
        numbers = {f"signal_{place}_all_time": random.uniform(0, 0.2) for place in range(14)}
        stages = STAGES | {
            "finetune": STAGES["finetune"] | {"history": history, "epochs": 15},
            "fuse": STAGES["fuse"] | {"validation_alone": numbers, "weights": numbers},
            "gate": TIMING | {"segments": [everyone, *STAGES["gate"]["segments"][1:] * 3]},
            "check": STAGES["check"] | {"figures": {"lists": 1000 + 7 * day, "coverage": random.uniform(0.4, 0.6)}},
        }
        entries = [
            SampleEntry(
                rank=rank,
                title=f"A title of some length, number {rank}",
                score=-rank / 3,
                source="ranker",
                reason="in line with your history",
            )
            for rank in range(1, 11)
        ]
        samples = [
            SampleList(
                user=f"{user:012x}", num_events=user, history=["An item of the history"] * 8, recommended=entries
            )
            for user in range(20)
        ]
        run_id = f"{first + dt.timedelta(days=day)}-0123456789ab"
        config = "".join(f"key_{line}: some value\n" for line in range(200))
        gate = GATE | {"model": model, "verdict": "passed", "overridden": []}
        made.append(records(run_id, stages, gate, samples, config=config))
    return made


def realized(number: int) -> pa.Table:
    """REALIZED of so many nights: all lists, two variants, two sources and the live service, with revenue."""
    random, rows = Random(1), []  # noqa: S311 (made-up figures)
    for night in nights(number):
        names = {"run_date": dt.date.fromisoformat(night.run_id[:10]), "run_id": night.run_id}
        for segment in ("all", "variant:default", f"variant:{HOSTILE}"):
            for metric, value in (("lists", 1000.0), ("active_users", 120.0), ("revenue", 5210.5)):
                rows.append(names | {"metric": metric, "segment": segment, "value": value, "low": None, "high": None})
            for metric in ("hitrate@10", "ndcg@10", "taken_per_list"):
                mean = random.uniform(0.1, 0.2) if metric == "hitrate@10" else random.uniform(0.05, 0.08)
                bounds = {"low": mean - 0.02, "high": mean + 0.02}
                rows.append(names | {"metric": metric, "segment": segment, "value": mean, **bounds})
        for segment, taken in (("source:ranker", 0.03), ("source:text", 0.02), ("live", 0.05)):
            plain = {"segment": segment, "low": None, "high": None}
            rows.append(names | plain | {"metric": "shown", "value": 2400.0})
            rows.append(names | plain | {"metric": "revenue", "value": 310.0})
            rows.append(
                names | {"metric": "taken_share", "segment": segment, "value": taken, "low": 0.01, "high": 0.06}
            )
    return pa.Table.from_pylist(rows, schema=REALIZED)


def pruned(value: Any, random: Random) -> Any:
    """Nested records of which any field may be missing, null or of a wrong type, and any number NaN or infinite."""
    if isinstance(value, dict):
        return {key: pruned(inner, random) for key, inner in value.items() if random.random() > 0.1}
    chance = random.random()
    if chance < 0.1:
        return random.choice([None, "text", -1, [], {}, True])
    if isinstance(value, list):
        return [pruned(inner, random) for inner in value if random.random() > 0.1]
    return random.choice([float("nan"), float("inf")]) if isinstance(value, float) and chance < 0.2 else value
