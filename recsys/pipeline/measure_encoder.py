"""Measures a variant of a text encoder beside the full one: size, speed, and what its vectors are worth."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from pydantic import ConfigDict

from recsys.config.strict_json import STRICT
from recsys.data.splits import validation_users
from recsys.evaluation.bootstrap import paired_bootstrap
from recsys.model.encoder_files import model_files
from recsys.model.text_encoder import TextEncoder
from recsys.pipeline.item_texts import read_encoder_texts
from recsys.pipeline.lessons import SourceEncoder, shop_texts
from recsys.pipeline.open_encoder import open_encoder
from recsys.pipeline.run import Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.pipeline.stored_vectors import read_text_vectors
from recsys.storage.tables import read_table
from recsys.training.basket_examples import HELD_OUT_TARGETS, last_targets
from recsys.training.basket_validation import HeldOutTargets, held_out_ndcg
from recsys.training.distill import agreement, like_searches

#: Texts of one timing, searches of which each is timed alone, and rounds in which the two encoders take turns.
_TIMED_TEXTS, _TIMED_SEARCHES, _ROUNDS = 256, 200, 3
#: Texts whose similarities are compared.
_COMPARED = 1000


@dataclass(frozen=True, kw_only=True)
class EncoderFigures:
    """What was measured on one thread of one machine."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    bytes: int
    """Of weights, tokenizer and config."""
    size: float
    """Share of the full encoder's bytes."""
    texts_per_s: float
    """Texts of the catalog, in batches."""
    speed: float
    """Texts per second over those of the full encoder, in the same rounds."""
    p50_ms: float
    """To encode one search."""
    p99_ms: float
    agreement: float
    """With the full encoder, on which texts of the catalog are similar, −1 to 1."""
    users: int
    """Whose last item was left out."""
    ndcg: float | None
    """NDCG@10 of the text signal alone (text-EASE) for that item; None: there are no such users."""
    ndcg_full: float | None
    """The same of the full encoder."""
    difference: float | None
    low: float | None
    """Its 95 % interval, paired by user."""
    high: float | None


def measure_encoder(run: Run, source: SourceEncoder, model: str | None) -> EncoderFigures:
    """Measure a variant; it runs in a worker, with one thread.

    Args:
        run: The published night.
        source: Its encoder.
        model: `encoder.model` of the variant; None: the full encoder.
    """
    torch.set_num_threads(1)
    texts = read_encoder_texts(run)["text"].to_pylist()
    with open_encoder(run.storage, run.config, source.encoder_id, source.encoder_model) as full:
        full_bytes = _bytes(full)
    if model is None:
        variant, own_bytes = full, full_bytes
    else:
        with _opened(run, model) as variant:
            own_bytes = _bytes(variant)
    batch_size = run.config.encoder.batch_size
    timed = shop_texts(run, source.encoder_id)[:: max(len(texts) // _TIMED_TEXTS, 1)][:_TIMED_TEXTS]
    encoders = [full] if variant is full else [full, variant]
    seconds = _in_turns([partial(each.encode, timed, batch_size) for each in encoders])
    waits = _search_seconds(variant, like_searches(timed, run.config.seed)[:_TIMED_SEARCHES])
    held_out = _held_out(run, len(texts))
    vectors = [read_text_vectors(run, source.encoder_id)[1][held_out.rows]]
    if model is not None:
        vectors.append(variant.encode([texts[row] for row in held_out.rows], batch_size))
    gains = [held_out_ndcg(each, held_out) for each in vectors]
    users = len(gains[0])
    interval = paired_bootstrap(gains[-1] - gains[0], seed=run.config.seed) if users else None
    return EncoderFigures(
        bytes=own_bytes,
        size=own_bytes / full_bytes,
        texts_per_s=len(timed) / seconds[-1],
        speed=seconds[0] / seconds[-1],
        p50_ms=1000 * float(np.quantile(waits, 0.5)),
        p99_ms=1000 * float(np.quantile(waits, 0.99)),
        agreement=agreement(vectors[-1][:_COMPARED], vectors[0][:_COMPARED]),
        users=users,
        ndcg=float(gains[-1].mean()) if users else None,
        ndcg_full=float(gains[0].mean()) if users else None,
        difference=interval.mean if interval else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
    )


def _opened(run: Run, model: str) -> AbstractContextManager[TextEncoder]:
    spec = run.config.encoder.model_copy(update={"model": model, "revision": None, "train": "frozen"})
    return open_encoder(run.storage, run.config.model_copy(update={"encoder": spec}), "", None)


def _bytes(encoder: TextEncoder) -> int:
    return sum((encoder.folder / name).stat().st_size for name in model_files(encoder.folder))


def _in_turns(works: Sequence[Callable[[], object]]) -> list[float]:
    """Median seconds of each work; they take turns, so that other load of the machine meets all of them."""
    seconds: list[list[float]] = [[] for _ in works]
    for round_number in range(_ROUNDS + 1):
        for each, work in zip(seconds, works, strict=True):
            start = time.perf_counter()
            work()
            if round_number:  # the first one warms up
                each.append(time.perf_counter() - start)
    return [float(np.median(each)) for each in seconds]


def _search_seconds(encoder: TextEncoder, searches: Sequence[str]) -> npt.NDArray[np.float64]:
    """Seconds that each search takes, one after the other, as in the live service."""
    encoder.encode(searches[:5])
    seconds = []
    for search in searches:
        start = time.perf_counter()
        encoder.encode([search])
        seconds.append(time.perf_counter() - start)
    return np.array(seconds)


def _held_out(run: Run, catalog_size: int) -> HeldOutTargets:
    """The last item of users of the night, by their histories; users are drawn by hash."""
    histories = run.record(SHUFFLE_HISTORIES)
    share = min(run.config.compress.max_users / max(histories.users, 1), 1.0)
    item_ids = read_table(run.storage, run.catalog_path, ["item_id"])["item_id"].combine_chunks()
    tables = [HELD_OUT_TARGETS.empty_table()]
    for shard in histories.shards:
        lists = read_table(run.storage, f"{run.folder.histories_dir}/{shard}.parquet", ["user_id", "item_ids"])
        drawn = lists.filter(pa.array(validation_users(lists["user_id"], share, run.config.seed)))
        tables.append(last_targets(drawn, item_ids))
    return HeldOutTargets.of(pa.concat_tables(tables), catalog_size, run.config.seed)
