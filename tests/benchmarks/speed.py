"""Measures our speed and that of peers at the same work, in turns on one machine. `make bench-speed`.

    python tests/benchmarks/speed.py [--rows score,lists,retrieve,encode,encode-fp32,train,train-plain,train-fp32]
        [--rounds 5] [--threads 2] [--quick]

Prints a Markdown table and writes bench/speed.json. The results are ratios: each round runs ours, then each peer, so
that a noisy machine disturbs all of them. Loading, compiling and a first turn are not timed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import speed_inputs
from machine import describe
from quality import HERE, PEERS, QUICK, ROOT, Bench, night_config, run, say

from recsys.model.config import EncoderConfig
from recsys.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of work, and the scripts that do it."""

    work: str
    unit: str
    inputs: Callable[[Path, Path, bool], None]
    ours: str
    peers: dict[str, tuple[str, str]]
    """Name → environment and script."""
    bars: dict[str, tuple[float, float]]
    """Name → the ratio that is required, and the goal."""
    facts: dict[str, Any] = field(default_factory=dict)
    has_limit: bool = False
    """Whether the script reports multiply-adds, to compare with the rate of matrix products."""


RECTOOLS, LENSKIT = "RecTools SASRec", "LensKit on Ray"
ENCODE = Row(
    work="vectors of 10,000 short texts, MiniLM",
    unit="texts",
    inputs=speed_inputs.texts,
    ours="encode_texts",
    peers={"sentence-transformers": ("field", "encode_texts")},
    bars={"sentence-transformers": (1.2, 2)},
    facts={"precision": EncoderConfig().precision},
    has_limit=True,
)
TRAIN = Row(
    work="a training epoch of full softmax, compiled",
    unit="sequences",
    inputs=speed_inputs.lists,
    ours="train_one_epoch",
    peers={RECTOOLS: ("rectools", "sasrec_speed")},
    bars={RECTOOLS: (1.5, 3)},
    facts={"recommend": False, "precision": TrainConfig().precision, "compile": True},
)
PLAIN = replace(TRAIN, work="the same, not compiled", facts=TRAIN.facts | {"compile": False})
BOTH_IN_FLOAT32 = "the same, both in float32"
ROWS = {
    "score": Row(
        work="100 candidates of a user with 50 events",
        unit="pairs",
        inputs=speed_inputs.scoring,
        ours="score_candidates",
        peers={"CrossEncoder, MiniLM": ("field", "cross_encoder")},
        bars={"CrossEncoder, MiniLM": (300, 1000)},
        has_limit=True,
    ),
    "lists": Row(
        work="top 20 for all users, whole path",
        unit="users",
        inputs=speed_inputs.lists,
        ours="recommend_all",
        peers={RECTOOLS: ("rectools", "sasrec_speed"), LENSKIT: ("field", "lenskit_batch")},
        bars={RECTOOLS: (2, 5), LENSKIT: (2, 10)},
        facts={"recommend": True},
    ),
    "retrieve": Row(
        work="exact top 100 of 100,000 × 128",
        unit="users",
        inputs=speed_inputs.retrieval,
        ours="retrieve_top",
        peers={"faiss IndexFlatIP": ("field", "faiss_search"), "implicit topk": ("field", "implicit_topk")},
        bars={"faiss IndexFlatIP": (1, 1.5), "implicit topk": (1, 1.5)},
        has_limit=True,
    ),
    "encode": ENCODE,
    "encode-fp32": replace(ENCODE, work=BOTH_IN_FLOAT32, facts={"precision": "fp32"}),
    "train": TRAIN,
    "train-plain": PLAIN,
    "train-fp32": replace(PLAIN, work=BOTH_IN_FLOAT32, facts=PLAIN.facts | {"precision": "fp32"}),
}
OURS, PRODUCT = "recsys", "matrix product"


class Contestant:
    """A running process of `stopwatch.compete`."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path):
        self.process, self.log = process, log
        self.facts: dict[str, Any] = self._answer()["facts"]
        self.rates: list[float] = []
        self.memory_mb = 0.0

    def turn(self) -> None:
        """Let it do the work once."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.rates.append(answer["units"] / answer["seconds"])
        self.memory_mb = max(self.memory_mb, answer["rss_mb"])

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.log} ends with:\n{''.join(self.log.read_text().splitlines(True)[-20:])}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def contestant(python: Path, script: Path, folder: Path, threads: int) -> Iterator[Contestant]:
    """Start a contestant and wait until it is ready."""
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    environment = os.environ | dict.fromkeys(variables, str(threads))
    environment |= {"PYTHONPATH": str(HERE), "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    # LensKit's Rust and Ray parts have their own settings
    environment |= {"LK_NUM_PROCS": str(threads), "LK_NUM_THREADS": str(threads), "LK_NUM_BACKEND_THREADS": "1"}
    log = folder / f"{script.parent.name}-{script.stem}.log"
    say(f"{folder.name}: starting {script.parent.name}/{script.stem} …")
    with log.open("w") as errors:
        process = subprocess.Popen(
            [str(python), str(script), str(folder)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield Contestant(process, log)
        finally:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def compare(row: Row, folder: Path, rounds: int, threads: int) -> dict[str, Any]:
    """Run the contestants of a row in turns."""
    scripts = {OURS: (Path(sys.executable), HERE / "ours" / f"{row.ours}.py")}
    for name, (venv, script) in row.peers.items():
        scripts[name] = PEERS / venv / "bin" / "python", HERE / "peers" / f"{script}.py"
    if row.has_limit:
        scripts[PRODUCT] = Path(sys.executable), HERE / "ours" / "matrix_product.py"
    with ExitStack() as stack:
        contestants = {
            name: stack.enter_context(contestant(python, script, folder, threads))
            for name, (python, script) in scripts.items()
        }
        for number in range(rounds):
            say(f"{folder.name}: round {number + 1} of {rounds}")
            for one in contestants.values():
                one.turn()
    ours = contestants[OURS]
    figures: dict[str, Any] = {
        "unit": row.unit,
        "contestants": {
            name: {"per_s": spread(one.rates), "memory_mb": one.memory_mb, "facts": one.facts}
            for name, one in contestants.items()
        },
        "ratios": {
            name: spread([mine / theirs for mine, theirs in zip(ours.rates, contestants[name].rates, strict=True)])
            for name in row.peers
        },
    }
    if row.has_limit:
        rates = zip(ours.rates, contestants[PRODUCT].rates, strict=True)
        figures["share_of_limit"] = spread([ours.facts["multiply_adds"] * mine / product for mine, product in rates])
    return figures


def spread(values: list[float]) -> dict[str, float]:
    """Median and the 10th and 90th percentile."""
    low, median, high = np.quantile(values, [0.1, 0.5, 0.9])
    return {"median": float(median), "p10": float(low), "p90": float(high)}


def same(key: str, folder: Path) -> dict[str, float]:
    """How much our results and the peer's agree, for rows where they can be compared."""
    if key.startswith("encode"):
        ours, peer = np.load(folder / "ours.npy"), np.load(folder / "peer.npy")
        return {"least_cosine": float((ours * peer).sum(axis=1).min())}
    if key == "retrieve":
        ours, peer = np.load(folder / "ours.npy"), np.load(folder / "peer.npy")
        found = [np.intersect1d(mine, theirs).size for mine, theirs in zip(ours, peer, strict=True)]
        return {"found_in_both": float(np.mean(found) / ours.shape[1])}
    return {}


def fill(key: str, folder: Path, bench: Bench) -> None:
    """Write the inputs of the contestants. For the row `lists`, run a whole night on the same events."""
    quick, encoder = bench.options.quick, bench.options.encoder
    folder.mkdir(parents=True, exist_ok=True)
    ROWS[key].inputs(folder, bench.split("retail-new"), quick)
    facts = json.loads((folder / "facts.json").read_text())
    changes = [f"recommend.top_k={facts.get('top_k', 20)}", *(QUICK if quick else []), *bench.options.set]
    (folder / "facts.json").write_text(json.dumps(facts | ROWS[key].facts | {"changes": changes}))
    if key != "lists":
        return
    warehouse = folder / f"night-{bench.code[:12]}"
    for old in folder.glob("night-*"):
        if old != warehouse:
            shutil.rmtree(old)
    warehouse.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(night_config(warehouse, folder, facts["date"], encoder=encoder))
    words = [word for change in changes for word in ("--set", change)]
    say("lists: running a night for our model …")
    command = [sys.executable, "jobs/nightly.py", "--config", str(folder / "config.yaml"), *words]
    run(command, folder / "night.log")


def table_lines(key: str, figures: dict[str, Any]) -> list[str]:
    """One table line for each peer."""
    row, contestants = ROWS[key], figures["contestants"]
    limit = figures.get("share_of_limit")
    share = f"{limit['median']:.0%}" if limit else ""
    lines = []
    for name, (must, goal) in row.bars.items():
        ratio, ours, peer = figures["ratios"][name], contestants[OURS], contestants[name]
        label = f"{name} ({peer['facts']['scorer']})" if "scorer" in peer["facts"] else name
        cells = [
            row.work,
            f"{ours['per_s']['median']:,.0f} {row.unit}/s",
            f"{label}: {peer['per_s']['median']:,.1f}",
            f"**{ratio['median']:,.2f}×** ({ratio['p10']:,.2f}–{ratio['p90']:,.2f})",
            f"{must:g}× / {goal:g}×",
            share,
            f"{ours['memory_mb']:,.0f} / {peer['memory_mb']:,.0f} MB",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> int:
    """Compare the contestants of each row, then print and write the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=lambda text: text.split(","), default=list(ROWS))
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--encoder", default="null", help="text encoder of the night of the row `lists`")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for that night")
    options.add_argument("--quick", action="store_true", help="small sizes: only checks that everything runs")
    options.add_argument("--out", type=Path, default=ROOT / "bench")
    arguments = options.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        options.error(f"no row {', '.join(sorted(unknown))}; known: {', '.join(ROWS)}")
    bench = Bench(arguments)
    written: dict[str, Any] = {"machine": describe(), "threads": arguments.threads, "quick": arguments.quick}
    written |= {"rounds": arguments.rounds, "rows": {}}
    head = ["work", "recsys", "peer", "ratio (p10–p90)", "must / goal", "of the limit", "memory"]
    sys.stdout.write("| " + " | ".join(head) + " |\n|" + " --- |" * len(head) + "\n")
    for key in arguments.rows:
        folder = bench.out / "speed" / (f"{key}-quick" if arguments.quick else key)
        fill(key, folder, bench)
        figures = compare(ROWS[key], folder, arguments.rounds, arguments.threads)
        written["rows"][key] = figures | same(key, folder)
        sys.stdout.write("\n".join(table_lines(key, written["rows"][key])) + "\n")
        sys.stdout.flush()
    (bench.out / "speed.json").write_text(json.dumps(written, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
