"""Speed of the model on a GPU: a decoder of half a billion weights, exact retrieval and training.

    python tests/benchmarks/gpu.py [--rows product,candidate_pass,histories,train,retrieve] [--rounds 9] [--quick]

Prints a Markdown table and writes bench/gpu.json. Needs torch with CUDA and recsys, but no Ray. --quick only checks
that everything runs, also on a CPU. Weights and inputs are random, since they do not change the speed. The first turns,
in which kernels are chosen and compiled, are not counted.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from decoder_work import multiply_adds
from machine import describe
from torch import Tensor
from transformers import Qwen3Config

from recsys.model.features import NUM_GAP_BUCKETS
from recsys.model.last_states import last_states
from recsys.model.precision import dtype_of
from recsys.model.ranker import Ranker
from recsys.model.ranker_spec import RankerSpec
from recsys.signals.exact_search import ItemIndex, retrieve
from recsys.signals.excluded import ExcludedItems
from recsys.training.config import TrainConfig
from recsys.training.objective import Objective, TrainableRanker

ROOT = Path(__file__).parent.parent.parent
#: Dense bfloat16 operations per second by the data sheets. Utilisation is measured against these.
PEAK_FLOPS = {
    "NVIDIA H100 80GB HBM3": 989.4e12,
    "NVIDIA H200": 989.4e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA L4": 121e12,
}
WARMUP = 3
NUM_ITEMS, TEXT_DIM, LENGTH, CANDIDATES = 10_000, 384, 50, 100
#: Layers of Qwen3-0.6B, enough of them for 0.5 B weights without a vocabulary.
HALF_BILLION = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 32, "num_attention_heads": 16}
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One line of the table."""

    work: str
    units: str
    per_s: float
    spread: tuple[float, float]
    flops: float
    """Floating-point operations per unit. A multiply-add counts as two."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Device, number of rounds and size of a run."""

    device: torch.device
    rounds: int
    quick: bool

    @property
    def sizes(self) -> dict[str, int]:
        return TINY if self.quick else HALF_BILLION

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def measured(self, work: str, units: str, num: int, do: Callable[[], object], flops: float) -> Measured:
        """Run the work a few times untimed, then `rounds` times; median, least and most units per second."""
        for _ in range(WARMUP):
            do()
        rates = []
        for _ in range(self.rounds):
            self.wait()
            start = time.perf_counter()
            do()
            self.wait()
            rates.append(num / (time.perf_counter() - start))
        spread = (min(rates), max(rates))
        return Measured(work=work, units=units, per_s=statistics.median(rates), spread=spread, flops=flops)


def product(bench: Bench) -> Iterator[Measured]:
    """One large matrix product: an upper bound for all other rows."""
    size = 512 if bench.quick else 8192
    for dtype in (torch.bfloat16, torch.float32):
        left, right = (torch.randn(size, size, device=bench.device).to(dtype) for _ in range(2))
        out = torch.empty_like(left)
        name = f"{size}³ product in {str(dtype).removeprefix('torch.')}"
        yield bench.measured(name, "products", 1, lambda a=left, b=right, c=out: torch.mm(a, b, out=c), 2.0 * size**3)


def candidate_pass(bench: Bench) -> Iterator[Measured]:
    """Candidate pass: users with 50 events and 100 candidates each, from item ids to 100 scores."""
    ranker = half_billion(bench)
    flops = forward_flops(ranker, LENGTH, CANDIDATES)
    vectors = ranker.item_vectors()

    def of(num_users: int, name: str = "") -> Measured:
        read, asked = drawn_histories(bench, num_users), drawn_items(bench, num_users, CANDIDATES)

        def score() -> Tensor:
            with torch.inference_mode():
                return ranker.candidate_logits(vectors, *read, asked)

        return bench.measured(f"candidate pass, {num_users} users at once{name}", "users", num_users, score, flops)

    few, many = (2, 4) if bench.quick else (64, 1024)
    yield of(few)
    yield of(many)
    ranker.decoder.compile(dynamic=False)  # only for this size, since each size takes a minute
    yield of(many, ", compiled")


def histories(bench: Bench) -> Iterator[Measured]:
    """Retrieval alone: users with 50 events, from item ids to user vectors."""
    ranker = half_billion(bench)
    decode, flops = last_states(ranker.decoder), forward_flops(ranker, LENGTH, 0)
    num_users = 4 if bench.quick else 1024
    items, gaps, events = drawn_histories(bench, num_users)
    lengths = torch.full((num_users,), LENGTH, device=bench.device)
    vectors = ranker.item_vectors()

    def read() -> Tensor:
        with torch.inference_mode():
            return ranker.last_states(ranker.history_tokens(vectors, items, gaps, events), gaps, lengths, decode)

    name = f"histories, {num_users} users at once"
    yield bench.measured(name, "users", num_users, read, flops)
    ranker.decoder.compile(dynamic=False)
    yield bench.measured(f"{name}, compiled", "users", num_users, read, flops)


def train(bench: Bench) -> Iterator[Measured]:
    """Forward and backward pass of the training objective: full softmax over windows of 50 targets."""
    num_windows = 4 if bench.quick else 128
    counts = torch.ones(NUM_ITEMS, dtype=torch.int64)
    objective = Objective.of(TrainConfig(), exclude_seen=True)
    ranker = TrainableRanker(spec_of(bench), torch.randn(NUM_ITEMS, TEXT_DIM), counts, objective).to(bench.device)
    items, gaps, events = drawn_histories(bench, num_windows)
    targets = drawn_items(bench, num_windows, LENGTH)
    flops = 3 * (forward_flops(ranker, LENGTH, 0) + 2.0 * LENGTH * NUM_ITEMS * ranker.spec.item_dim)

    def step() -> None:
        ranker.zero_grad(set_to_none=True)
        ranker(items, gaps, events, targets=targets).backward()

    name = f"learning, {num_windows} windows at once"
    yield bench.measured(name, "windows", num_windows, step, flops)
    if not bench.quick:
        ranker.compile_decoder()
        yield bench.measured(f"{name}, compiled", "windows", num_windows, step, flops)


def retrieval(bench: Bench) -> Iterator[Measured]:
    """Exact top 100 of 100,000 × 128 for 10,000 users, ours and plain torch.topk."""
    num_items, num_users = (2_000, 100) if bench.quick else (100_000, 10_000)
    items, users = (torch.randn(num, 128, device=bench.device) for num in (num_items, num_users))
    index = ItemIndex.of(items)
    flops = 2.0 * num_items * 128
    found = retrieve(users[:50], index, ExcludedItems.none(), CANDIDATES).items
    plainly = torch.topk(users[:50] @ items.T, CANDIDATES).indices
    agreed = (found[:, :, None] == plainly[:, None]).any(dim=2).float().mean()
    assert agreed > 0.999, f"only {agreed:.2%} of the items are those of torch.topk"

    def plain() -> None:
        for few in torch.split(users, 1024):
            torch.topk(few @ items.T, CANDIDATES)

    def ours() -> None:
        retrieve(users, index, ExcludedItems.none(), CANDIDATES)

    name = f"top {CANDIDATES} of {num_items:,}"
    with torch.inference_mode():
        yield bench.measured(f"{name}, ours", "users", num_users, ours, flops)
        yield bench.measured(f"{name}, torch.topk", "users", num_users, plain, flops)


ROWS = {
    "product": product,
    "candidate_pass": candidate_pass,
    "histories": histories,
    "train": train,
    "retrieve": retrieval,
}


def half_billion(bench: Bench) -> Ranker:
    """An untrained ranker with the precision that a night uses on this device."""
    texts, known = torch.randn(NUM_ITEMS, TEXT_DIM), torch.ones(NUM_ITEMS, dtype=torch.bool)
    ranker = Ranker(spec_of(bench), texts, known).eval().to(bench.device)
    ranker.decode_in(dtype_of("auto", bench.device))
    return ranker.requires_grad_(False)


def spec_of(bench: Bench) -> RankerSpec:
    heads, width = bench.sizes["num_attention_heads"], bench.sizes["hidden_size"]
    head_dim = 128 if width == HALF_BILLION["hidden_size"] else width // heads
    decoder = Qwen3Config(vocab_size=1, num_key_value_heads=heads // 2, head_dim=head_dim, **bench.sizes).to_dict()
    return RankerSpec(
        num_items=NUM_ITEMS,
        text_dim=TEXT_DIM,
        item_dim=width,
        num_event_kinds=1,
        decoder=decoder,
        dropout=0.0,
        id_dropout=0.0,
    )


def drawn_items(bench: Bench, num_users: int, num: int) -> Tensor:
    return torch.randint(NUM_ITEMS, (num_users, num), device=bench.device)


def drawn_histories(bench: Bench, num_users: int) -> tuple[Tensor, Tensor, Tensor]:
    """[B, 50] items, time-gap buckets and event kinds."""
    gaps = torch.randint(NUM_GAP_BUCKETS, (num_users, LENGTH), device=bench.device)
    return drawn_items(bench, num_users, LENGTH), gaps, torch.ones_like(gaps)


def forward_flops(ranker: Ranker, length: int, candidates: int) -> float:
    """Floating-point operations of the decoder for one user. A multiply-add counts as two."""
    return 2.0 * multiply_adds(ranker, length, candidates)


def table(measured: list[Measured], peak: float | None) -> str:
    """A Markdown table, with shares of the data sheet and of the bfloat16 product."""
    best = next((each.per_s * each.flops for each in measured if "bfloat16" in each.work), None)
    lines = [
        "| work | per second (least–most) | TFLOP/s | of the data sheet | of the product |",
        "| --- |" + " ---: |" * 4,
    ]
    for each in measured:
        low, high = each.spread
        rate = each.per_s * each.flops
        cells = [
            each.work,
            f"{each.per_s:,.1f} {each.units} ({low:,.1f}–{high:,.1f})",
            f"{rate / 1e12:,.1f}",
            f"{rate / peak:.0%}" if peak else "",
            f"{rate / best:.0%}" if best else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure each row, then print and write the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=lambda text: text.split(","), default=list(ROWS))
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--quick", action="store_true", help="small sizes: only checks that everything runs")
    options.add_argument("--out", type=Path, default=ROOT / "bench")
    arguments = options.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        options.error(f"no row {', '.join(sorted(unknown))}; known: {', '.join(ROWS)}")
    if not (torch.cuda.is_available() or arguments.quick):
        options.error("torch finds no GPU; use --quick to check on a CPU that everything runs")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    bench = Bench(device=device, rounds=arguments.rounds, quick=arguments.quick)
    measured: list[Measured] = []
    for row in arguments.rows:
        for each in ROWS[row](bench):
            sys.stderr.write(f"{each.work}: {each.per_s:,.1f} {each.units}/s\n")
            measured.append(each)
    sys.stdout.write(f"{name}, torch {torch.__version__}\n\n{table(measured, PEAK_FLOPS.get(name))}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    written: dict[str, Any] = {"machine": describe() | {"gpu": name, "torch": torch.__version__}, "quick": bench.quick}
    written["rows"] = [asdict(each) for each in measured]
    (arguments.out / "gpu.json").write_text(json.dumps(written, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
