"""Measures a variant of a text encoder beside the full one: size, speed, and what its vectors are worth."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

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
from recsys.pipeline.encoders.lessons import shop_texts
from recsys.pipeline.encoders.open_encoder import open_encoder
from recsys.pipeline.run import Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.pipeline.stored.item_ids import read_item_ids
from recsys.pipeline.stored.item_texts import read_encoder_texts
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
    """Texts of the shop for each second of CPU time, in batches."""
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


class MeasuredEncoder(NamedTuple):
    """An encoder, and what runs it."""

    run: Run
    """The published night; its `encoder` settings are those of this encoder."""
    encoder_id: str
    encoder_model: str | None
    """See `ModelCard.encoder_model`."""


def measure_encoder(full: MeasuredEncoder, other: MeasuredEncoder | None) -> EncoderFigures:
    """Measure a variant; it runs in a worker, with one thread.

    Args:
        full: The encoder of the night, which torch runs.
        other: The variant; None: the figures of the full encoder are wanted.
    """
    torch.set_num_threads(1)
    run = full.run
    texts = read_encoder_texts(run)["text"].to_pylist()
    opened = [_opened(each) for each in ([full] if other is None else [full, other])]
    encoders, sizes = [each.encoder for each in opened], [each.bytes for each in opened]
    batch_size = run.config.encoder.batch_size
    timed = spread(shop_texts(run), _TIMED_TEXTS)
    seconds = _in_turns([partial(each.encode, timed, batch_size) for each in encoders])
    waits = 1000 * _search_seconds(encoders[-1], like_searches(timed, run.config.seed)[:_TIMED_SEARCHES])
    held_out = _held_out(run, len(texts))
    ranked = [texts[row] for row in held_out.rows]
    vectors = [each.encode(ranked, batch_size) for each in encoders]
    gains = [held_out_ndcg(each, held_out) for each in vectors]
    users = len(gains[0])
    interval = paired_bootstrap(gains[-1] - gains[0], seed=run.config.seed) if users else None
    return EncoderFigures(
        bytes=sizes[-1],
        size=sizes[-1] / sizes[0],
        texts_per_s=len(timed) / seconds[-1],
        speed=seconds[0] / seconds[-1],
        p50_ms=float(np.quantile(waits, 0.5)),
        p99_ms=float(np.quantile(waits, 0.99)),
        agreement=agreement(vectors[-1][:_COMPARED], vectors[0][:_COMPARED]),
        users=users,
        ndcg=float(gains[-1].mean()) if users else None,
        ndcg_full=float(gains[0].mean()) if users else None,
        difference=interval.mean if interval else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
    )


def spread(texts: Sequence[str], most: int) -> list[str]:
    """So many of the sorted texts, at even distances, since neighbours begin with the same words."""
    return [texts[place * len(texts) // most] for place in range(most)] if len(texts) > most else list(texts)


class _Opened(NamedTuple):
    encoder: TextEncoder
    bytes: int


def _opened(encoder: MeasuredEncoder) -> _Opened:
    run = encoder.run
    with open_encoder(run.storage, run.config, encoder.encoder_id, encoder.encoder_model) as loaded:
        folder = loaded.folder
        if run.config.encoder.engine == "torch":
            return _Opened(loaded, sum((folder / name).stat().st_size for name in model_files(folder)))
        return _Opened(loaded, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))


def _in_turns(works: Sequence[Callable[[], object]]) -> list[float]:
    """Median CPU seconds of each work, whose only thread is this one: other load of the machine hardly changes them."""
    seconds: list[list[float]] = [[] for _ in works]
    for round_number in range(_ROUNDS + 1):
        for each, work in zip(seconds, works, strict=True):
            start = time.process_time()
            work()
            if round_number:  # the first one warms up
                each.append(time.process_time() - start)
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
    item_ids = read_item_ids(run)
    tables = [HELD_OUT_TARGETS.empty_table()]
    for shard in histories.shards:
        lists = read_table(run.storage, f"{run.folder.histories_dir}/{shard}.parquet", ["user_id", "item_ids"])
        drawn = lists.filter(pa.array(validation_users(lists["user_id"], share, run.config.seed)))
        tables.append(last_targets(drawn, item_ids))
    return HeldOutTargets.of(pa.concat_tables(tables), catalog_size, run.config.seed)
