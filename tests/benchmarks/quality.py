"""Measures the quality of our lists and of the peers' lists on the same splits. `make bench-quality`.

    python tests/benchmarks/quality.py [--cases ml100k,retail-new,toys,… | --short] [--seeds 0,1,2] [--earlier]
        [--systems recsys,sasrec,…] [--ours-only | --peers-only] [--encoder …] [--set KEY=VALUE …] [--keep] [--quick]

Prints one Markdown table per case and writes bench/quality.json. Finished parts are kept below bench/ under a digest of
everything they depend on. So an interrupted run continues, also within a night, and changed code is measured again.
"""

import argparse
import datetime as dt
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cases import EARLIER, Split, case_at, movielens, online_retail, write_split
from judge import Judged, Question
from machine import describe
from peer_systems import PEER_SYSTEMS, Peer
from sequences import COLD_ITEMS, SEQUENCE_CASES, SETS, SHORT_CASES, sequence_split

from recsys.evaluation.bootstrap import paired_bootstrap
from recsys.model.default_encoder import PACKAGED
from recsys.model.encoder_source import model_folder

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PEERS = ROOT / ".venv-peers"
#: Case → its split.
CASES = {
    "ml100k": "ml100k",
    "retail-new": "retail",
    "retail-all": "retail",
    "cold-users": "cold-users",
    "cold-items": "cold-items",
    **{case: case for case in SEQUENCE_CASES},
}
#: Measured unless others are named.
USUAL_CASES = ["ml100k", "retail-new", "retail-all", "cold-users", "cold-items", *SETS]
#: Case of withheld items → the case whose models were trained on these items.
WARM = {"cold-items": "retail-new"} | {name + COLD_ITEMS: name for name in SETS}
#: Case → the same case at earlier days, for --earlier.
EARLIER_CASES = {case: [case_at(case, cut) for cut in EARLIER] for case in ("cold-users", "cold-items")}
CASES |= {case: case for cases in EARLIER_CASES.values() for case in cases}
OURS = "recsys"
CONFIG = """storage: {warehouse}
date: {date}
seed: {seed}
inputs:
  events:
    path: {split}/events.parquet
    format: parquet
    columns: {{user_id: user_id, item_id: item_id, timestamp: timestamp}}
  items:
    path: {split}/items.parquet
    format: parquet
    columns: {{item_id: item_id}}
    text: "{{title}}"
{encoder}recommend: {{top_k: 10, exclude_seen: {exclude_seen}}}
"""
#: Settings for --quick: very little training, and a gate that lets any model pass.
QUICK = [
    "train.epochs=1",
    "train.min_steps=0",
    "train.recent_epochs=1",
    "encoder.scratch.pretrain_steps=5",
    "gate.min_users=1000000",
]


class Bench:
    """A run of the benchmark: its options and the folders of its parts."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.out: Path = options.out.resolve()
        self.failed: list[str] = []
        self.code = digest(path for top in ("recsys", "jobs") for path in sorted((ROOT / top).rglob("*.py")))

    def split(self, case: str) -> Path:
        """The folder of a case's split. Makes it from the raw data if it is missing."""
        folder = self.out / "cases" / CASES[case]
        if not (folder / "split.json").exists():
            for name, split in splits_of(case).items():
                write_split(split, self.out / "cases" / name)
        return folder

    def lists(self, case: str, system: str, seed: int) -> pd.DataFrame | None:
        """The lists of a system; None if making them failed. Failures are printed at the end."""
        try:
            if system == OURS:
                part = self._ours(case, seed) / "lists"
            else:
                part = self._peer(self.split(case), PEER_SYSTEMS[system], seed)
                part /= "new" if self.exclude_seen(case) else "all"
        except subprocess.CalledProcessError as error:
            self.failed.append(f"{case}, {system}, seed {seed}: {error}")
            say(self.failed[-1])
            return None
        return pd.read_parquet(part.with_suffix(".parquet"), columns=["user_id", "rank", "item_id"])

    def seconds(self, case: str, seed: int) -> dict[str, float]:
        """Seconds that each stage of our night took."""
        done = json.loads((self._ours(case, seed) / "metrics.json").read_text())["stages"]
        return {stage: float(record["seconds"]) for stage, record in done.items()}

    def best_peer(self, case: str, question: Question) -> tuple[str, Judged] | None:
        """The peer with the best lists of those that are made already, seed 0; None if there is none."""
        judged: dict[str, Judged] = {}
        for system, peer in PEER_SYSTEMS.items():
            place = self._peer_folder(self.split(case), peer, 0)
            if peer.measures(case) and (place / "seconds.json").exists():
                lists = pd.read_parquet(place / ("new.parquet" if self.exclude_seen(case) else "all.parquet"))
                judged[system] = question.judge(lists)
        best = max(judged, key=lambda system: judged[system].ndcg.mean(), default=None)
        return None if best is None else (best, judged[best])

    def exclude_seen(self, case: str) -> bool:
        """Whether the lists of a case leave out items that users already had."""
        return bool(json.loads((self.split(case) / case / "case.json").read_text())["exclude_seen"])

    @property
    def changes(self) -> list[str]:
        """Config changes of our nights by the options, as KEY=VALUE."""
        return [*(QUICK if self.options.quick else []), *self.options.set]

    def night(self, out: Path, config: str) -> None:
        """Run a night with a config and the options' changes. Writes the config and the log to the folder ``out``."""
        (out / "config.yaml").write_text(config)
        words = [word for change in self.changes for word in ("--set", change)]
        run([sys.executable, "jobs/nightly.py", "--config", str(out / "config.yaml"), *words], out / "log.txt")

    def night_folder(self, case: str, seed: int) -> Path:
        """The folder of our night: its config, its log, its lists and, with the option `keep`, its storage."""
        split, seen = self.split(case), self.exclude_seen(case)
        key = short(data_digest(split), self.code, str(self.options.encoder), str(seen), *self.changes)
        return self.out / "quality" / CASES[case] / OURS / f"{key}-{seed}"

    def warehouse(self, case: str, seed: int) -> Path:
        """The storage of our finished night. Runs the night if it is missing; needs the option `keep`."""
        storage = self.night_folder(case, seed) / "warehouse"
        if not (storage / "recommendations" / "LATEST.json").exists():
            self._run_night(case, seed)
        return storage

    def _ours(self, case: str, seed: int) -> Path:
        folder = self.night_folder(case, seed)
        if not (folder / "lists.parquet").exists():
            self._run_night(case, seed)
        return folder

    def _run_night(self, case: str, seed: int) -> None:
        """Run a night, or go on with one that was interrupted, and keep what it published."""
        split, out = self.split(case), self.night_folder(case, seed)
        out.mkdir(parents=True, exist_ok=True)
        say(f"{case}: {OURS}, seed {seed} …")
        date = json.loads((split / "split.json").read_text())["date"]
        seen, encoder = self.exclude_seen(case), self.options.encoder
        self.night(out, night_config(out / "warehouse", split, date, seed, seen, encoder))
        latest = json.loads((out / "warehouse/recommendations/LATEST.json").read_text())
        shutil.copy(out / "warehouse" / "runs" / latest["run_id"] / "metrics.json", out / "metrics.json")
        pd.read_parquet(out / "warehouse" / latest["path"]).to_parquet(out / "lists.parquet")
        if not self.options.keep:
            shutil.rmtree(out / "warehouse")

    def _peer(self, split: Path, peer: Peer, seed: int) -> Path:
        out = self._peer_folder(split, peer, seed)
        if not (out / "seconds.json").exists():
            out.mkdir(parents=True, exist_ok=True)
            python, script = PEERS / peer.venv / "bin" / "python", HERE / "peers" / f"{peer.script}.py"
            command = [str(python), "-W", "ignore", str(script), str(split), str(out)]
            command += ["--model", peer.model, "--seed", str(seed), *(["--quick"] if self.options.quick else [])]
            say(f"{split.name}: {peer.script} {peer.model}, seed {seed} …")
            run(command, out / "log.txt", PYTHONPATH=str(HERE), TEXT_MODEL=str(model_folder(PACKAGED)))
        return out

    def _peer_folder(self, split: Path, peer: Peer, seed: int) -> Path:
        sources = [HERE / "peers" / f"{name}.py" for name in (peer.script, *peer.imports)]
        sources += [HERE / "case_files.py", ROOT / "configs/constraints-peers.txt"]
        key = short(data_digest(split), digest(sources), str(self.options.quick), (split / "split.json").read_text())
        return self.out / "quality" / split.name / f"{peer.script}-{peer.model}" / f"{key}-{seed}"


def night_config(
    warehouse: Path, split: Path, date: str, seed: int = 0, exclude_seen: bool = True, encoder: str | None = None
) -> str:
    """The config of our night on a split. Everything that it does not name has its default; no encoder is a default."""
    return CONFIG.format(
        warehouse=warehouse,
        split=split,
        date=date,
        seed=seed,
        exclude_seen=str(exclude_seen).lower(),
        encoder=f"encoder: {{model: {encoder}, train: frozen}}\n" if encoder else "",
    )


def splits_of(case: str) -> dict[str, Split]:
    """The splits that are made together with that of a case, by name."""
    if case in SEQUENCE_CASES:
        return {case: sequence_split(raw_data(), case)}
    return (movielens if case == "ml100k" else online_retail)(raw_data())


def raw_data() -> Path:
    """The folder of the raw data, from RECSYS_DATA."""
    data = Path(os.environ.get("RECSYS_DATA") or ROOT.parent / "shared" / "data")
    if not data.is_dir():
        raise SystemExit(f"the data folder {data} is missing; set RECSYS_DATA to the folder of the raw data")
    return data


def run(command: list[str], log: Path, **more: str) -> None:
    """Run a command in the root of the repository. Its output goes to a file."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"} | more
    with log.open("w") as file:
        subprocess.run(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, check=True)


def digest(paths: Iterable[Path]) -> str:
    """SHA-256 of the contents of files."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.read_bytes())
    return whole.hexdigest()


def data_digest(split: Path) -> str:
    """SHA-256 of the events and the items of a split."""
    return digest([split / "events.parquet", split / "items.parquet"])


def short(*parts: str) -> str:
    """A short digest of everything that a part depends on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def say(text: str) -> None:
    """Print progress to stderr."""
    sys.stderr.write(f"{dt.datetime.now(dt.UTC):%H:%M:%S} {text}\n")
    sys.stderr.flush()


@dataclass(frozen=True, kw_only=True)
class Result:
    """The results of a system on a case, one per seed."""

    judged: list[Judged]
    warm_ndcg: list[float]
    """Only for cold items: NDCG@10 of the same targets in lists of a model that was trained on these items."""

    def figures(self) -> dict[str, dict[str, float]]:
        """Mean and standard deviation of each metric over seeds."""
        rows = [judged.means() for judged in self.judged]
        table = {name: [row[name] for row in rows] for name in rows[0]}
        if self.warm_ndcg:
            table["warm_ndcg@10"] = self.warm_ndcg
        return {
            name: {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}
            for name, values in table.items()
        }

    @property
    def ndcg(self) -> float:
        return float(np.mean([judged.ndcg.mean() for judged in self.judged]))


def results_of(bench: Bench, case: str, systems: list[str], seeds: list[int]) -> Iterator[tuple[str, Result]]:
    """Judge each system on a case; yields its name and result."""
    question = Question.of(bench.split(case), case)
    for system in systems:
        peer = PEER_SYSTEMS.get(system)
        if peer is not None and (not peer.measures(case) or (peer.repeats_only and bench.exclude_seen(case))):
            continue
        judged, warm = [], []
        for seed in seeds if peer is None or peer.seeded else [0]:
            lists = bench.lists(case, system, seed)
            if lists is None:
                continue
            judged.append(question.judge(lists))
            if case in WARM and (lists := bench.lists(WARM[case], system, seed)) is not None:
                warm.append(float(question.judge(lists).ndcg.mean()))
        if judged:
            yield system, Result(judged=judged, warm_ndcg=warm)


def report(case: str, results: dict[str, Result], question: Question) -> tuple[str, dict[str, Any]]:
    """A Markdown table of a case and its numbers."""
    names = ["ndcg@10", "hitrate@10", "tail_ndcg@10", "coverage@10"] + ["warm_ndcg@10"] * (case in WARM)
    users = f"{len(question.user_ids)} users, {len(question.truth)} targets, {question.in_tail.size} items"
    lines = [f"### {case}", "", f"{users}; lists at random: NDCG@10 {question.random_ndcg():.4f}.", ""]
    lines += ["| | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    figures = {system: result.figures() for system, result in results.items()}
    for system in sorted(results, key=lambda system: results[system].ndcg):
        cells = []
        for name in names:
            value = figures[system].get(name, {"mean": float("nan"), "sd": 0.0})
            spread = f" ± {value['sd']:.4f}" if len(results[system].judged) > 1 else ""
            cells.append(f"{value['mean']:.4f}{spread}")
        bold = "**" if system == OURS else ""
        lines.append(f"| {bold}{system}{bold} | " + " | ".join(cells) + " |")
    numbers: dict[str, Any] = {"random_ndcg@10": question.random_ndcg(), "systems": figures}
    for label, field in (("NDCG@10", "ndcg"), ("tail NDCG@10", "tail_ndcg")):
        text, gap = against_best({system: per_user(result, field) for system, result in results.items()})
        if gap:
            numbers.setdefault("differences", {})[label] = gap
            lines += ["", f"{label}: {text}"]
    return "\n".join(lines) + "\n", numbers


def report_together(cases: dict[str, dict[str, Result]]) -> tuple[str, dict[str, Any]]:
    """A Markdown table of several cases together and its numbers. Their users differ, and each has the same weight."""
    systems = [system for system in next(iter(cases.values())) if all(system in results for results in cases.values())]
    if not systems:
        return f"### {' + '.join(cases)}\n\nNo system has lists in all of these cases.\n", {}
    values = {
        system: np.concatenate([per_user(results[system], "ndcg") for results in cases.values()]) for system in systems
    }
    lines = [f"### {' + '.join(cases)}", "", f"{len(values[systems[0]])} users.", ""]
    lines += ["| | ndcg@10 |", "| --- | ---: |"]
    lines += [
        f"| {system} | {values[system].mean():.4f} |" for system in sorted(systems, key=lambda s: values[s].mean())
    ]
    text, gap = against_best(values)
    if gap:
        lines += ["", f"NDCG@10: {text}"]
    means = {system: float(value.mean()) for system, value in values.items()}
    return "\n".join(lines) + "\n", {"ndcg@10": means, "difference": gap}


def write_figures(path: Path, **parts: dict[str, Any]) -> None:
    """Write figures by part and case as JSON; those of other cases, of earlier runs, stay."""
    written = json.loads(path.read_text()) if path.exists() else {}
    written |= {name: written.get(name, {}) | cases for name, cases in parts.items()}
    path.write_text(json.dumps(written, indent=2) + "\n")


def against_best(values: dict[str, np.ndarray]) -> tuple[str, dict[str, Any]]:
    """Our values [U] minus those of the best peer, as text and numbers; empty if one of them is missing."""
    peers = [system for system in values if system != OURS]
    if OURS not in values or not peers:
        return "", {}
    best = max(peers, key=lambda system: values[system].mean())
    gap = paired_bootstrap(values[OURS] - values[best])
    text = f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] against the best, {best}"
    return text, {"best": best, "mean": gap.mean, "low": gap.low, "high": gap.high}


def per_user(result: Result, field: str) -> np.ndarray:
    """[U] values of each user, averaged over seeds."""
    return np.mean([getattr(judged, field) for judged in result.judged], axis=0)


def main() -> int:
    """Make the lists that are missing, judge all, then print and write the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cases", type=lambda text: text.split(","), default=USUAL_CASES)
    options.add_argument("--short", action="store_true", help="half an hour: scientific and a tenth of the other sets")
    options.add_argument("--earlier", action="store_true", help="also cold-users and cold-items at four earlier days")
    options.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=None)
    options.add_argument("--systems", type=lambda text: text.split(","), help="parts of their names; default: all")
    options.add_argument("--ours-only", action="store_true")
    options.add_argument("--peers-only", action="store_true")
    options.add_argument("--encoder", help="as encoder.model in a config; default: the one that a night has by default")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for our night")
    options.add_argument("--keep", action="store_true", help="keep the storage of our nights, for `ablation.py`")
    options.add_argument("--quick", action="store_true", help="train very little: only checks that everything runs")
    options.add_argument("--out", type=Path, default=ROOT / "bench")
    arguments = options.parse_args()
    if arguments.short:
        arguments.cases = SHORT_CASES
    arguments.seeds = arguments.seeds or ([0] if arguments.short else [0, 1, 2])
    if unknown := set(arguments.cases) - set(CASES):
        options.error(f"no case {', '.join(sorted(unknown))}; known: {', '.join(CASES)}")
    peers = [name for name, peer in PEER_SYSTEMS.items() if not (arguments.short and peer.slow)]
    systems = [OURS] * (not arguments.peers_only) + peers * (not arguments.ours_only)
    if arguments.systems:
        systems = [name for name in systems if any(part.lower() in name.lower() for part in arguments.systems)]
    bench = Bench(arguments)
    measured = {"machine": describe(), "quick": arguments.quick, "encoder": arguments.encoder, "set": arguments.set}
    measured |= {"seeds": arguments.seeds}
    earlier = [case for case in arguments.cases if arguments.earlier and case in EARLIER_CASES]
    found: dict[str, dict[str, Result]] = {}
    for case in dict.fromkeys([*arguments.cases, *(each for kind in earlier for each in EARLIER_CASES[kind])]):
        found[case] = dict(results_of(bench, case, systems, arguments.seeds))
        table, numbers = report(case, found[case], Question.of(bench.split(case), case))
        write_figures(bench.out / "quality.json", cases={case: measured | numbers})
        sys.stdout.write(table + "\n")
        sys.stdout.flush()
    for kind in earlier:
        table, numbers = report_together({case: found[case] for case in EARLIER_CASES[kind]})
        write_figures(bench.out / "quality.json", earlier={kind: measured | numbers})
        sys.stdout.write(table + "\n")
    for failure in bench.failed:
        sys.stderr.write(f"failed: {failure}\n")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
