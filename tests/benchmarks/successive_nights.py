"""Successive nights of Online Retail: what a night that continues the one before costs, and what its lists are worth.

    python tests/benchmarks/successive_nights.py [--nights 14] [--users 1.0] [--encoder …] [--set KEY=VALUE …]

The events lie in one file a day. The nights of the last days run one after the other in one storage. Beside each, the
same night runs in an empty storage: a full retrain. Both lists are judged on the next day that has events. Prints
Markdown tables and writes bench/successive_nights.json. Finished nights are kept below bench/ under a digest of the
code and the options, so that an interrupted run continues. `--nights 3 --users 0.1` checks in minutes that all runs.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cases import retail_lines, without
from judge import Question
from machine import describe
from quality import ROOT, Bench, raw_data, run, say, short

from recsys.errors import GateError
from recsys.evaluation.bootstrap import Interval, paired_bootstrap

#: The last night is of this day; the file ends at noon of the next one.
LAST = pd.Timestamp("2011-12-08", tz="UTC")
DAY = pd.Timedelta(days=1)
CONFIG = """storage: {storage}
inputs:
  events: {{path: {folder}/events, format: parquet}}
  items: {{path: {folder}/items/{date}.parquet, format: parquet, text: "{{title}}"}}
recommend: {{top_k: 10}}
"""
INCREMENTAL, FULL = "incremental", "full"


@dataclass(frozen=True, kw_only=True)
class Night:
    """What a night cost, and what its lists are worth."""

    wall_s: float
    """Seconds of the command, with the start of Ray."""
    seconds: dict[str, float]
    """By stage."""
    cpu_seconds: dict[str, float]
    """By stage, of all its workers."""
    training: str
    """What the last line says of the training."""
    ndcg: list[float]
    """NDCG@10 of each judged user; empty where the next day has no targets."""

    @property
    def total_s(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


class Shop:
    """Online Retail day by day."""

    def __init__(self, folder: Path, share: float) -> None:
        """``share`` of the users, drawn by a hash of their ids."""
        self.folder = folder
        lines = retail_lines(raw_data())
        place = pd.util.hash_array(lines.user_id.to_numpy(dtype=object)) % 10_000
        self.lines = lines[place < share * 10_000]

    def open(self, date: pd.Timestamp) -> int:
        """Write the files that a day brings; returns the events of this day. Files that are there stay as they are."""
        for name in ("events", "items"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        past = self.lines[self.lines.timestamp < date + DAY]
        for day, events in past.groupby(past.timestamp.dt.date):
            path = self.folder / "events" / f"{day}.parquet"
            if not path.exists():
                events[["user_id", "item_id", "timestamp"]].to_parquet(path, index=False)
        catalog = self.folder / "items" / f"{date.date()}.parquet"
        if not catalog.exists():
            self._titles(past).to_parquet(catalog, index=False)
        return int((past.timestamp >= date).sum())

    def question(self, date: pd.Timestamp) -> Question | None:
        """What known users buy for the first time on the next day that has events; None: they buy nothing new."""
        past, later = (self.lines[mask] for mask in self._split(date))
        next_day = later[later.timestamp.dt.date == later.timestamp.min().date()]
        known = next_day[
            next_day.user_id.isin(set(past.user_id)) & next_day.item_id.isin(set(self._titles(past).item_id))
        ]
        truth = without(known[["user_id", "item_id"]].drop_duplicates(), past)
        if not len(truth):
            return None
        return Question(past[["user_id", "item_id", "timestamp"]], self._titles(past), truth, exclude_seen=True)

    def _split(self, date: pd.Timestamp) -> tuple[pd.Series, pd.Series]:
        is_past = self.lines.timestamp < date + DAY
        return is_past, ~is_past

    def _titles(self, past: pd.DataFrame) -> pd.DataFrame:
        named = past[past.Description.notna()].sort_values("timestamp", kind="stable")
        return named.groupby("item_id").Description.last().str.strip().rename("title").reset_index()


class Nights:
    """The nights of a run of this benchmark."""

    def __init__(self, bench: Bench, shop: Shop) -> None:
        self.bench, self.shop, self.folder = bench, shop, shop.folder

    def night(self, kind: str, date: pd.Timestamp, question: Question | None) -> Night:
        """A finished night, or run it now."""
        record = self.folder / "nights" / f"{date.date()}-{kind}.json"
        if not record.exists():
            record.parent.mkdir(exist_ok=True)
            say(f"{date.date()}: {kind} …")
            record.write_text(json.dumps(vars(self._run(kind, date, question))))
        return Night(**json.loads(record.read_text()))

    def _run(self, kind: str, date: pd.Timestamp, question: Question | None) -> Night:
        storage = self.folder / kind
        if kind == FULL and not (storage / f"{date.date()}.begun").exists():
            shutil.rmtree(storage, ignore_errors=True)
            storage.mkdir()
            (storage / f"{date.date()}.begun").touch()
        config, log = self.folder / f"{kind}.yaml", self.folder / "nights" / f"{date.date()}-{kind}.log"
        encoder = f"encoder: {{model: {self.bench.options.encoder}}}\n" if self.bench.options.encoder else ""
        config.write_text(CONFIG.format(storage=storage, folder=self.folder, date=date.date()) + encoder)
        words = [word for change in self.bench.changes for word in ("--set", change)]
        command = [sys.executable, "jobs/nightly.py", "--config", str(config), "--date", str(date.date()), *words]
        command += ["--force"] if kind == FULL else []  # its lists are judged, whatever a gate says of them
        start = time.monotonic()
        try:
            run(command, log)
        except subprocess.CalledProcessError as error:
            if kind == FULL or error.returncode != GateError.exit_code:
                raise
            say(f"{date.date()}: a gate refused the night, so its users keep the lists of the night before")
        wall = time.monotonic() - start
        answer = json.loads(log.read_text().splitlines()[-1])
        stages = json.loads((storage / "runs" / answer["run_id"] / "metrics.json").read_text())["stages"]
        latest = json.loads((storage / "recommendations" / "LATEST.json").read_text())
        lists = pd.read_parquet(storage / latest["path"], columns=["user_id", "rank", "item_id"])
        return Night(
            wall_s=wall,
            seconds={name: float(stage["seconds"]) for name, stage in stages.items()},
            cpu_seconds={name: float(stage["cpu_seconds"]) for name, stage in stages.items()},
            training=answer.get("training", answer["status"]),
            ndcg=[] if question is None else question.judge(lists).ndcg.tolist(),
        )


def table_line(date: pd.Timestamp, events: int, incremental: Night, full: Night) -> str:
    """One night of the table."""
    share = incremental.total_s / full.total_s
    cpu = sum(incremental.cpu_seconds.values()) / sum(full.cpu_seconds.values())
    cells = [str(date.date()), f"{events:,}", f"{incremental.total_s:.0f}", f"{full.total_s:.0f}", f"{share:.0%}"]
    cells += [f"{cpu:.0%}", f"{incremental.wall_s / full.wall_s:.0%}"]
    if incremental.ndcg:
        mine, theirs = np.array(incremental.ndcg), np.array(full.ndcg)
        interval, gap = paired_bootstrap(theirs), paired_bootstrap(mine - theirs)
        inside = "yes" if interval.low <= mine.mean() <= interval.high else "**no**"
        cells += [str(len(mine)), f"{mine.mean():.4f}", shown(interval), shown(gap, "+.4f"), inside]
    else:
        cells += ["0", *["–"] * 4]
    return "| " + " | ".join([*cells, incremental.training]) + " |"


def shown(interval: Interval, form: str = ".4f") -> str:
    """A mean and its interval."""
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def by_stage(nights: list[tuple[Night, Night]]) -> list[str]:
    """The mean seconds of each stage."""
    lines = ["| stage | incremental s | full s |", "| --- | ---: | ---: |"]
    for stage in nights[0][1].seconds:
        means = [np.mean([pair[side].seconds.get(stage, 0.0) for pair in nights]) for side in (0, 1)]
        lines.append(f"| {stage} | {means[0]:.1f} | {means[1]:.1f} |")
    return lines


def summary(nights: list[tuple[Night, Night]]) -> tuple[list[str], dict[str, Any]]:
    """Time over all nights, the difference in quality over all of them, and whether it grows."""
    shares = [mine.total_s / full.total_s for mine, full in nights]
    figures: dict[str, Any] = {"share_of_time": {"mean": float(np.mean(shares)), "most": float(np.max(shares))}}
    lines = [f"Time of a night: {np.mean(shares):.0%} of a full one on average, {np.max(shares):.0%} at most."]
    gaps = [np.array(mine.ndcg) - np.array(full.ndcg) for mine, full in nights if mine.ndcg]
    halves = {"all nights": gaps, "first half": gaps[: len(gaps) // 2], "second half": gaps[len(gaps) // 2 :]}
    for name, part in halves.items():
        if part:
            gap = paired_bootstrap(np.concatenate(part))
            figures[name] = asdict(gap)
            lines.append(f"NDCG@10, incremental − full, {name}: {shown(gap, '+.4f')}.")
    return lines, figures


HEAD = [
    *("night", "events of the day", "incremental s", "full s", "share of time", "share of CPU", "share of wall time"),
    *("users", "NDCG@10 incremental", "NDCG@10 full", "difference", "inside", "training"),
]


def main() -> int:
    """Run the nights, then print and write the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nights", type=int, default=14)
    options.add_argument("--users", type=float, default=1.0, help="share of the users")
    options.add_argument("--encoder", help="text encoder; by default that of the config")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all nights")
    options.add_argument("--quick", action="store_true", help="very little training: only checks that everything runs")
    options.add_argument("--out", type=Path, default=ROOT / "bench")
    arguments = options.parse_args()
    bench = Bench(arguments)
    # A chain may be made longer at its end only: its first night depends on how many there are.
    key = short(bench.code, str(arguments.nights), str(arguments.users), str(arguments.encoder), *bench.changes)
    shop = Shop(bench.out / "successive_nights" / key, arguments.users)
    nights = Nights(bench, shop)
    first = LAST - arguments.nights * DAY
    shop.open(first)
    nights.night(INCREMENTAL, first, None)
    lines, pairs = [], []
    for number in range(1, arguments.nights + 1):
        date = first + number * DAY
        events, question = shop.open(date), shop.question(date)
        pairs.append((nights.night(INCREMENTAL, date, question), nights.night(FULL, date, question)))
        lines.append(table_line(date, events, *pairs[-1]))
        say(lines[-1])
    text, figures = summary(pairs)
    head = ["| " + " | ".join(HEAD) + " |", "|" + " --- |" * len(HEAD)]
    sys.stdout.write("\n".join([*head, *lines, "", *by_stage(pairs), "", *text]) + "\n")
    options_used = {"nights": arguments.nights, "users": arguments.users, "set": bench.changes}
    nights_done = [{"incremental": vars(mine), "full": vars(full)} for mine, full in pairs]
    written = figures | {"machine": describe(), "options": options_used, "nights": nights_done}
    (bench.out / "successive_nights.json").write_text(json.dumps(written, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
