"""What a smaller text encoder learns: texts of the shop, with the vectors that its teacher gives them.

Texts are those of the catalog, of users and of searches; and of each a part that takes the place of a search.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.model.text_encoder import TextEncoder
from recsys.pipeline.encoders.encode_texts import TEXTS_PER_PART
from recsys.pipeline.encoders.open_encoder import open_encoder
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stored.item_texts import read_encoder_texts
from recsys.pipeline.stored.stored_vectors import read_user_text_vectors
from recsys.pipeline.workers.cluster import for_each_part
from recsys.storage.filesystem import Storage
from recsys.storage.tables import read_table, write_table
from recsys.training.distill import like_searches

#: One text in so many is held out, with its part: layers are chosen, and the best state is kept, by them.
_HELD_OUT = 10
_MOST_HELD_OUT = 500

_TEXTS = pa.schema([pa.field("text", pa.string(), nullable=False), pa.field("held_out", pa.bool_(), nullable=False)])


class SourceEncoder(NamedTuple):
    """The encoder of a published night."""

    encoder_id: str
    """Its digest."""
    encoder_model: str | None
    """See `ModelCard.encoder_model`."""


class Lessons(NamedTuple):
    """N texts to learn from."""

    texts: list[str]
    held_out: npt.NDArray[np.bool_]
    """[N] whether a student only is measured on it."""
    vectors: npt.NDArray[np.float32]
    """[N, T] of the teacher, of length 1."""


def shop_texts(run: Run) -> list[str]:
    """The distinct texts of a published night: of its catalog, its users and their searches, sorted."""
    texts = read_encoder_texts(run)["text"].to_pylist()
    texts += read_user_text_vectors(run, run.encoder_id).texts.to_pylist()
    return sorted({text for text in texts if text.strip()})


def write_lessons(run: Run, folder: str, source: SourceEncoder) -> None:
    """Write the texts, and the vectors of those that have none yet, in parts on the workers of the cluster."""
    tables = _drawn_texts(run, shop_texts(run))
    parts = {f"part-{number:05d}": table for number, table in enumerate(tables)}
    done = set(run.storage.list(f"{folder}/vectors"))
    missing = [part for part in parts if f"{part}.parquet" not in done]
    for part in missing:
        write_table(run.storage, f"{folder}/texts/{part}.parquet", parts[part], _TEXTS)
    spec = run.config.encoder
    build = partial(_teach, run, folder, source)
    for_each_part(missing, build, label="teacher", num_workers=spec.num_workers, gpus_per_worker=int(spec.use_gpu))


def read_lessons(storage: Storage, folder: str) -> Lessons:
    """All of them, in the order of their parts."""
    names = storage.list(f"{folder}/vectors")
    texts = pa.concat_tables([read_table(storage, f"{folder}/texts/{name}") for name in names])
    vectors = pa.concat_tables([read_table(storage, f"{folder}/vectors/{name}") for name in names])["vector"]
    lists = vectors.combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), -1)
    return Lessons(texts["text"].to_pylist(), texts["held_out"].to_numpy(), np.array(flat, np.float32))


def _drawn_texts(run: Run, texts: list[str]) -> list[pa.Table]:
    """Texts and parts of them, in tables of a fixed size; some are held out."""
    seed, most = run.config.seed, run.config.compress.max_texts
    drawn = [texts[row] for row in np.random.default_rng(seed).permutation(len(texts))[:most]]
    num_held_out = min(-(-len(drawn) // _HELD_OUT), _MOST_HELD_OUT)
    held_out = np.tile(np.arange(len(drawn)) < num_held_out, 2)
    both = pa.table([drawn + like_searches(drawn, seed), held_out], schema=_TEXTS)
    return [both.slice(start, TEXTS_PER_PART) for start in range(0, len(both), TEXTS_PER_PART)]


def _teach(run: Run, folder: str, source: SourceEncoder) -> Callable[[str], Record]:
    spec, compress = run.config.encoder, run.config.compress
    device = "cuda" if spec.use_gpu else "cpu"
    if compress.teacher is None:
        with open_encoder(run.storage, run.config, source.encoder_id, source.encoder_model, device) as teacher:
            pass  # it is loaded, and its folder is not needed any more
    else:
        named = (compress.teacher, compress.teacher_revision)
        teacher = TextEncoder.load(*named, "auto", spec.max_tokens, spec.precision, device)

    def teach(part: str) -> Record:
        texts = read_table(run.storage, f"{folder}/texts/{part}.parquet")["text"].to_pylist()
        vectors = teacher.encode(texts, spec.batch_size)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        table = pa.table({"vector": lists})
        write_table(run.storage, f"{folder}/vectors/{part}.parquet", table, table.schema)
        return {"rows": len(texts)}

    return teach
