"""What each part of the model brings, and where: the same nights with one part taken out. `make bench-ablation`.

    python tests/benchmarks/ablation.py [--cases scientific,ml100k] [--seeds 0,1] [--encoder …] [--set KEY=VALUE …]
        [--variants 'without texts;ids alone' | --all]

A part that is a signal needs no second training: the fusion is fitted again on the signals of the same night
(`replay.py`), which may be a night that `quality.py --keep` ran. A part inside the ranker needs a night of its own.
Prints a Markdown table per case and one with all cases side by side, and writes bench/ablation.json. Finished nights
and lists are kept, as in quality.py.
"""

import argparse
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from judge import Judged, Question
from machine import describe
from quality import CASES, OURS, ROOT, Bench, say, short, write_figures
from replay import on_ray, replay
from sequences import SETS

from recsys.evaluation.bootstrap import paired_bootstrap
from recsys.signals.registry import usual_signals

FULL = "full"
#: Signals that know the items by their texts alone.
TEXTS = ("text",)


@dataclass(frozen=True)
class Variant:
    """The same night with other settings."""

    changes: tuple[str, ...] = ()
    """Config changes, as KEY=VALUE."""
    own_night: bool = False
    """Whether the changes need a training of their own."""
    left_out: tuple[str, ...] = ()
    """Parts of the fitted fusion that are left out, see `replay`."""


def only(*signals: str) -> Variant:
    """These signals alone have a weight."""
    return Variant((f"recommend.signals=[{', '.join(signals)}]",))


def without(*signals: str) -> Variant:
    """These signals have no weight."""
    return only(*(signal.name for signal in usual_signals() if signal.name not in signals))


#: Measured unless others are named: the variants of the table in the docs.
USUAL: dict[str, Variant] = {
    FULL: Variant(),
    "without texts": without(*TEXTS),
    "without ranker": without("ranker"),
    "without ranker and texts": without("ranker", *TEXTS),
    "ranker alone": only("ranker"),
    "texts alone": only(*TEXTS),
    "without trees": Variant(left_out=("trees",)),
    "without weights of short histories": Variant(left_out=("short", "session")),
}
VARIANTS: dict[str, Variant] = USUAL | {
    **{
        f"without {signal.name}": without(signal.name)
        for signal in usual_signals()
        if signal.name not in (*TEXTS, "ranker")
    },
    "without transitions, ease, popularity": without("transitions", "ease", "popularity"),
    "item vectors of texts alone": Variant(("ranker.parts=text",), own_night=True),
    "item vectors of ids alone": Variant(("ranker.parts=ids",), own_night=True),
    "ids alone": Variant(("ranker.parts=ids", *without(*TEXTS).changes), own_night=True),
    "ranker of ids alone": Variant(("ranker.parts=ids", *only("ranker").changes), own_night=True),
    "relative time": Variant(("ranker.relative_time=true",), own_night=True),
    "targets of the next days": Variant(("train.targets=next_days",), own_night=True),
    "objective gbce": Variant(("train.objective=gbce",), own_night=True),
    "with the candidate pass": Variant(("train.listwise_epochs=1",), own_night=True),
    "without the last days once more": Variant(("train.recent_epochs=0",), own_night=True),
    "without refit": Variant(("train.refit=false",), own_night=True),
    "encoder baskets": Variant(("encoder.train=baskets",), own_night=True),
    "encoder lora": Variant(("encoder.train=lora",), own_night=True),
    "encoder full": Variant(("encoder.train=full",), own_night=True),
}
#: Seeds of small sets, whose figures change most between seeds; elsewhere one night is run.
SEEDS = {"scientific": [0, 1, 2]}
#: Stages that only the ranker and the texts need.
LANGUAGE = ("encode", "baskets", "reencode", "finetune", "refit")


class Ablation:
    """Nights, and the lists that are made of them with parts taken out."""

    def __init__(self, bench: Bench):
        self.bench = bench
        self.common: list[str] = list(bench.options.set)

    def lists(self, case: str, variants: Collection[str], seeds: list[int]) -> dict[str, list[pd.DataFrame]]:
        """The lists of each variant, one table per seed; a variant whose night failed is left out."""
        found: dict[str, list[pd.DataFrame]] = {}
        for name in variants:
            if VARIANTS[name].own_night or name == FULL:
                self.bench.options.set = [*self.common, *VARIANTS[name].changes]
                made = [self.bench.lists(case, OURS, seed) for seed in seeds]
                self.bench.options.set = self.common
                if all(lists is not None for lists in made):
                    found[name] = [lists for lists in made if lists is not None]
        replays = [name for name in variants if name != FULL and not VARIANTS[name].own_night]
        for seed in seeds:
            self._replay(case, seed, replays)
        for name in replays:
            found[name] = [pd.read_parquet(self._path(case, seed, name)) for seed in seeds]
        return {name: found[name] for name in variants if name in found}

    def _replay(self, case: str, seed: int, variants: Iterable[str]) -> None:
        missing = [name for name in variants if not self._path(case, seed, name).exists()]
        if not missing:
            return
        warehouse = self.bench.warehouse(case, seed)
        with on_ray(warehouse):
            for name in missing:
                say(f"{case}: {name}, replayed, seed {seed} …")
                path, variant = self._path(case, seed, name), VARIANTS[name]
                path.parent.mkdir(exist_ok=True)
                replay(warehouse, variant.changes, left_out=variant.left_out).to_parquet(path)

    def _path(self, case: str, seed: int, name: str) -> Path:
        """Where the lists of a replayed night are kept: beside its storage."""
        variant = VARIANTS[name]
        folder = self.bench.night_folder(case, seed) / "replayed"
        return folder / f"{short(*variant.changes, *variant.left_out)}.parquet"


def main() -> int:
    """Make the nights and lists that are missing, then print and write the tables."""
    arguments = options_of(__doc__)
    bench = Bench(arguments)
    ablation = Ablation(bench)
    measured = {"machine": describe(), "quick": arguments.quick, "encoder": arguments.encoder, "set": arguments.set}
    cases: dict[str, Any] = {}
    for case in arguments.cases:
        question = Question.of(bench.split(case), case)
        seeds = arguments.seeds or SEEDS.get(case, [0])
        lists = ablation.lists(case, [FULL, *arguments.variants], seeds)
        judged = {name: [question.judge(each) for each in own] for name, own in lists.items()}
        if (peer := bench.best_peer(case, question)) is not None:
            judged[f"best peer: {peer[0]}"] = [peer[1]]
        share = language_share(bench.seconds(case, seeds[0])) if FULL in lists else float("nan")
        table, numbers = report(case, judged, share)
        cases[case] = measured | {"seeds": seeds, "users": len(question.user_ids)} | numbers
        write_figures(bench.out / "ablation.json", cases={case: cases[case]})
        sys.stdout.write(table + "\n")
        sys.stdout.flush()
    sys.stdout.write(side_by_side(cases) + "\n")
    for failure in bench.failed:
        sys.stderr.write(f"failed: {failure}\n")
    return 1 if bench.failed else 0


def options_of(doc: str | None) -> argparse.Namespace:
    """The command line."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cases", type=lambda text: text.split(","), default=[*SETS, "ml100k", "retail-new"])
    options.add_argument(
        "--seeds",
        type=lambda text: [int(seed) for seed in text.split(",")],
        help="default: 0,1,2 on scientific, else 0",
    )
    options.add_argument("--encoder", help="as encoder.model in a config; default: the one that a night has by default")
    options.add_argument("--variants", type=lambda text: text.split(";"), default=list(USUAL), help="separated by ;")
    options.add_argument("--all", action="store_true", help="all variants, also those that need nights of their own")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for every night")
    options.add_argument("--quick", action="store_true", help="train very little: only checks that everything runs")
    options.add_argument("--out", type=Path, default=ROOT / "bench")
    arguments = options.parse_args()
    arguments.keep = True
    if arguments.all:
        arguments.variants = list(VARIANTS)
    arguments.variants = [name for name in arguments.variants if name != FULL]
    if unknown := set(arguments.variants) - set(VARIANTS):
        options.error(f"no variant {', '.join(sorted(unknown))}; known: {', '.join(VARIANTS)}")
    if unknown := set(arguments.cases) - set(CASES):
        options.error(f"no case {', '.join(sorted(unknown))}; known: {', '.join(CASES)}")
    return arguments


def language_share(seconds: Mapping[str, float]) -> float:
    """Share of a night's time that the ranker and the texts take, by the seconds of its stages."""
    return sum(seconds.get(stage, 0.0) for stage in LANGUAGE) / sum(seconds.values())


def report(case: str, judged: Mapping[str, list[Judged]], share: float) -> tuple[str, dict[str, Any]]:
    """A Markdown table of a case and its numbers. Differences are those of `full` less the variant, paired by user."""
    lines = [f"### {case}", "", "| | NDCG@10 | full less this [95 %] | tail NDCG@10 | coverage@10 |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    numbers: dict[str, Any] = {"language_share_of_time": share, "variants": {}}
    whole = mean_ndcg(judged[FULL]) if FULL in judged else None
    for variant, runs in judged.items():
        means = [run.means() for run in runs]
        row = {name: float(np.mean([mean[name] for mean in means])) for name in means[0]}
        if whole is not None and variant != FULL:
            found = paired_bootstrap(whole - mean_ndcg(runs))
            row |= {"difference": found.mean, "low": found.low, "high": found.high}
        figures = (difference_of(row), f"{row['tail_ndcg@10']:.4f}", f"{row['coverage@10']:.3f}")
        lines.append(f"| {variant} | {row['ndcg@10']:.4f} | " + " | ".join(figures) + " |")
        numbers["variants"][variant] = row
    return "\n".join(lines) + "\n", numbers


def side_by_side(cases: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table with a row per variant and a column per case: NDCG@10, and what `full` has more."""
    peers = "best peer"
    rows = dict.fromkeys(name.partition(":")[0] for numbers in cases.values() for name in numbers["variants"])
    names = [name for name in rows if name != peers] + [name for name in rows if name == peers]
    lines = ["| | " + " | ".join(cases) + " |", "| --- |" + " ---: |" * len(cases)]
    for name in names:
        cells = []
        for numbers in cases.values():
            found = [(own, row) for own, row in numbers["variants"].items() if own.partition(":")[0] == name]
            cells.append(" ".join(cell_of(own, row) for own, row in found))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    shares = [f"{numbers['language_share_of_time']:.0%}" for numbers in cases.values()]
    lines.append("| time of the night for ranker and texts | " + " | ".join(shares) + " |")
    return "\n".join(lines) + "\n"


def cell_of(name: str, row: Mapping[str, float]) -> str:
    """A cell of the table with all cases."""
    peer = f" ({name.partition(': ')[2]})" if ": " in name else ""
    more = f"; {row['difference'] / row['ndcg@10']:+.0%}" if row.get("difference") and row["ndcg@10"] else ""
    return " ".join(filter(None, [f"{row['ndcg@10']:.4f}{peer}", difference_of(row) + more]))


def difference_of(row: Mapping[str, float]) -> str:
    """What `full` has more, with its interval; empty for `full`."""
    return f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]" if "difference" in row else ""


def mean_ndcg(runs: list[Judged]) -> np.ndarray:
    """[U] NDCG@10 of each user, averaged over seeds."""
    return np.mean([run.ndcg for run in runs], axis=0)


if __name__ == "__main__":
    sys.exit(main())
