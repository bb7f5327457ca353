"""What the benchmarks of people whom the night does not know share: their options, and the live service's answers."""

import argparse
import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
from judge import K
from quality import ROOT

from recsys.serving.contracts import RecommendationRequest, Strategy
from recsys.serving.live_snapshot import LiveSnapshot

#: Requests that are answered together, as the service gathers them.
BATCH = 32


def options_of(doc: str | None) -> argparse.ArgumentParser:
    """The options of a night that is made for strangers."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--encoder", default="null", help="as encoder.model in a config")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for the night")
    options.add_argument("--quick", action="store_true", help="hardly train: a check of the way through")
    options.add_argument("--out", type=Path, default=ROOT / "bench")
    return options


def live_lists(
    live: LiveSnapshot, told: dict[str, dict[str, Any]], moment: dt.datetime, strategy: Strategy
) -> pd.DataFrame:
    """user_id, rank, item_id: what the service answers to what each of them tells, the fields of a request."""
    users = sorted(told)
    rows = []
    for start in range(0, len(users), BATCH):
        batch = users[start : start + BATCH]
        requests = [RecommendationRequest.model_validate(told[user] | {"k": K}) for user in batch]
        for user, answer in zip(batch, live.answer(requests, moment), strict=True):
            assert answer.strategy == strategy
            rows += [(user, item.rank, item.item_id) for item in answer.items]
    return pd.DataFrame(rows, columns=["user_id", "rank", "item_id"])
