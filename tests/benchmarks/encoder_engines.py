"""What do the engines and quantizations of the text encoder bring, and what do they cost in quality?

    python tests/benchmarks/encoder_engines.py [--sets scientific,toys] [--model package://…] [--threads 1] [--quick]

MiniLM in PyTorch (fp32 and bf16) and in ONNX Runtime (fp32 and int8) encodes the same texts of a catalog, in turns, and
single searches, one after the other. Text-EASE ranks the full catalog for each user's withheld item with the vectors of
each; the differences to PyTorch in fp32 are paired by user. Texts are counted per second of CPU time, so that other
load on the machine changes them little. Prints Markdown tables and writes bench/encoder_engines.json. It runs in one
process on the CPU.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from machine import describe
from sequences import SETS
from transfer import target_of

from recsys.evaluation.bootstrap import paired_bootstrap
from recsys.model.default_encoder import PACKAGED
from recsys.model.onnx_export import export_encoder
from recsys.model.text_encoder import TextEncoder
from recsys.training.basket_validation import held_out_ndcg

ROOT = Path(__file__).parents[2]
BASE = "PyTorch fp32"


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options.add_argument("--sets", default="scientific,toys", help=f"of {', '.join(SETS)}; the first one is timed")
    options.add_argument("--model", default=PACKAGED)
    options.add_argument("--threads", type=int, default=1, help="an encoder worker of a night has one")
    options.add_argument("--texts", type=int, default=512, help="of a timing")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--quick", action="store_true", help="few texts, to see that it runs")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.texts, arguments.rounds = 16, 1
    torch.set_num_threads(arguments.threads)
    catalogs = {
        name: target_of(arguments.data, name, 50 if arguments.quick else None) for name in arguments.sets.split(",")
    }
    texts = next(iter(catalogs.values()))[0]
    with TemporaryDirectory() as folder:
        encoders = load(arguments.model, Path(folder), texts[:64])
        figures = speed(encoders, texts[: arguments.texts], arguments.rounds)
        for name, encoder in encoders.items():
            figures[name]["mb"] = sum(file.stat().st_size for file in weights(encoder)) / 1e6
        vectors = {key: {name: each.encode(own[0]) for name, each in encoders.items()} for key, own in catalogs.items()}
    ndcg = {
        key: {name: held_out_ndcg(each, own[1]) for name, each in vectors[key].items()} for key, own in catalogs.items()
    }
    cosines = {
        key: {name: (each * found[BASE]).sum(axis=1) for name, each in found.items()} for key, found in vectors.items()
    }
    report(figures, ndcg, cosines, {"machine": describe(), "options": {k: str(v) for k, v in vars(arguments).items()}})


def load(model: str, folder: Path, texts: Sequence[str]) -> dict[str, TextEncoder]:
    """The same encoder in each form."""
    plain = TextEncoder.load(model)
    return {
        BASE: plain,
        "PyTorch bf16": TextEncoder.load(model, precision="bf16"),
        "ONNX Runtime fp32": export_encoder(plain, folder / "fp32", texts),
        "ONNX Runtime int8": export_encoder(plain, folder / "int8", texts, "int8"),
    }


def weights(encoder: TextEncoder) -> list[Path]:
    """The files with the numbers of the model."""
    return [file for file in encoder.folder.iterdir() if file.suffix in (".safetensors", ".onnx", ".data")]


def speed(encoders: Mapping[str, TextEncoder], texts: Sequence[str], rounds: int) -> dict[str, dict[str, Any]]:
    """CPU seconds for the texts in batches, and times of single searches of their first words, in turns."""
    searches = [" ".join(text.split()[:6]) for text in texts[:100]]
    batches: dict[str, list[float]] = {name: [] for name in encoders}
    waits: dict[str, list[float]] = {name: [] for name in encoders}
    spent: dict[str, list[float]] = {name: [] for name in encoders}
    for turn in range(rounds + 1):
        for name, encoder in encoders.items():
            start = time.process_time()
            encoder.encode(texts)
            if turn:  # the first one warms up
                batches[name].append(time.process_time() - start)
            for search in searches:
                start, cpu = time.perf_counter(), time.process_time()
                encoder.encode([search])
                waits[name].append(time.perf_counter() - start)
                spent[name].append(time.process_time() - cpu)
    return {
        name: {
            "texts_per_cpu_s": len(texts) / float(np.median(batches[name])),
            "ratio": [one / two for one, two in zip(batches[BASE], batches[name], strict=True)],
            "search_ms": {q: 1000 * float(np.quantile(waits[name], float(q) / 100)) for q in ("50", "99")},
            "search_cpu_ms": 1000 * float(np.median(spent[name])),
        }
        for name in encoders
    }


def report(
    figures: Mapping[str, Mapping[str, Any]],
    ndcg: Mapping[str, Mapping[str, np.ndarray]],
    cosines: Mapping[str, Mapping[str, np.ndarray]],
    facts: dict[str, Any],
) -> None:
    """Print the tables, and write the figures."""
    lines = [
        "| encoder | MB | texts per CPU second | against fp32 | a search: p50 / p99 | its CPU time |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, own in figures.items():
        low, middle, high = np.quantile(own["ratio"], [0.1, 0.5, 0.9])
        lines.append(
            f"| {name} | {own['mb']:.0f} | {own['texts_per_cpu_s']:,.0f} | {middle:.2f}× ({low:.2f}–{high:.2f}) | "
            f"{own['search_ms']['50']:.1f} / {own['search_ms']['99']:.1f} ms | {own['search_cpu_ms']:.1f} ms |"
        )
    lines += [
        "",
        "| data | encoder | least, mean cosine | NDCG@10 | difference [95 %] |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    written: dict[str, Any] = {}
    for key, by_encoder in ndcg.items():
        base = by_encoder[BASE]
        for name, gains in by_encoder.items():
            found, cosine = paired_bootstrap(gains - base), cosines[key][name]
            difference = (
                ""
                if name == BASE
                else f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}], {gains.mean() / base.mean() - 1:+.1%}"
            )
            lines.append(
                f"| {key} | {name} | {cosine.min():.4f}, {cosine.mean():.4f} | {gains.mean():.4f} | {difference} |"
            )
            written[f"{key}, {name}"] = {
                "ndcg": float(gains.mean()),
                "difference": asdict(found),
            }
    sys.stdout.write("\n".join(lines) + "\n")
    out = ROOT / "bench" / "encoder_engines.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({**facts, "speed": figures, "quality": written}, indent=2, default=str))


if __name__ == "__main__":
    main()
