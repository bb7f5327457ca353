"""Shared by the benchmarks of anonymous users: command-line options, and the lists that the live service gives them."""

import argparse
import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
from judge import K
from quality import ROOT

from recsys.serving.contracts import RecommendationRequest, Strategy
from recsys.serving.live_snapshot import LiveSnapshot

#: Requests answered in one batch, as the service does.
BATCH = 32


def options_of(doc: str | None) -> argparse.ArgumentParser:
    """Command-line options of these benchmarks."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--encoder", default="null", help="as encoder.model in a config")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for the night")
    options.add_argument("--quick", action="store_true", help="train very little: only checks that everything runs")
    options.add_argument("--out", type=Path, default=ROOT / "bench")
    return options


def live_lists(
    live: LiveSnapshot, bodies: dict[str, dict[str, Any]], now: dt.datetime, strategy: Strategy
) -> pd.DataFrame:
    """The lists that the live service answers, as rows of user_id, rank, item_id.

    Args:
        live: Answers the requests.
        bodies: Request fields of each user.
        now: Time of the requests.
        strategy: The strategy that every answer must have.
    """
    users = sorted(bodies)
    rows = []
    for start in range(0, len(users), BATCH):
        batch = users[start : start + BATCH]
        requests = [RecommendationRequest.model_validate(bodies[user] | {"k": K}) for user in batch]
        for user, answer in zip(batch, live.answer(requests, now), strict=True):
            assert answer.strategy == strategy
            rows += [(user, item.rank, item.item_id) for item in answer.items]
    return pd.DataFrame(rows, columns=["user_id", "rank", "item_id"])
