"""The stages `encode` and `reencode`: texts of items and users become vectors; stored vectors are used again."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.values.large_texts import with_large_text
from recsys.errors import ConfigError
from recsys.model.checkpoint import ModelCard
from recsys.model.encoder_files import encoder_digest, vectors_digest
from recsys.pipeline.encoders.export_encoder import settle_export
from recsys.pipeline.encoders.open_encoder import open_encoder, stored_folder
from recsys.pipeline.encoders.trained_encoder import adapted_encoder, scratch_encoder
from recsys.pipeline.model_records import EncodedTexts
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stored.item_texts import read_encoder_texts
from recsys.pipeline.stored.published_model import model_card
from recsys.pipeline.stored.user_texts import read_user_texts
from recsys.pipeline.workers.cluster import for_each_part, peak_of
from recsys.ranking.experiment_config import models_of_arms
from recsys.schema import CATALOG, item_vectors, text_vectors, user_text_vectors
from recsys.storage.filesystem import Storage
from recsys.storage.tables import read_table, write_table

#: Texts of one part. The number is fixed, so that a text is always encoded in the same batch.
TEXTS_PER_PART = 4096

_TEXTS = pa.schema([CATALOG.field("text"), CATALOG.field("text_hash")])


def encode_items(run: Run) -> EncodedTexts:
    """Encode new texts with the configured encoder; write the vectors of the catalog and of the users' texts.

    Raises:
        ConfigError: the model of an arm of an experiment was trained with another encoder, and this one does not learn.
    """
    source_id = configured_encoder(run)
    encoder_id = vectors_digest(source_id, run.config.encoder.quantization)
    if run.protocol == "time" and not run.config.encoder.learns:
        _require_arm_encoders(run, encoder_id)  # before the training, which would be for nothing
    if run.config.encoder.engine == "onnx":
        settle_export(run, source_id, encoder_id, None)
    return _encode_catalog(run, encoder_id, None)


def encode_tuned(run: Run) -> EncodedTexts:
    """The same with the encoder that was trained with this night's model. All texts are new to it."""
    card = model_card(run, run.model_id)
    return _encode_catalog(run, card.encoder_id, card.encoder_model)


def encode_with(run: Run, encoder_id: str, model_id: str) -> None:
    """The same with the encoder in the folder of a model that is not finished."""
    _encode_catalog(run, encoder_id, model_id)


def encode_for(run: Run, card: ModelCard) -> None:
    """The same with the encoder of a stored model, unless it was done in this run."""
    if not run.storage.exists(run.text_vectors_path(card.encoder_id)):
        _encode_catalog(run, card.encoder_id, card.encoder_model)


def _encode_catalog(run: Run, encoder_id: str, encoder_model: str | None) -> EncodedTexts:
    catalog = read_encoder_texts(run)
    user_texts = read_user_texts(run)
    texts = pa.concat_tables([table.select(_TEXTS.names) for table in (catalog, user_texts)])
    missing = _missing_texts(run.storage, encoder_id, texts)
    if encoder_model is not None and run.config.encoder.engine == "onnx":
        settle_export(run, encoder_id, encoder_id, encoder_model)
    records = _encode(run, encoder_id, encoder_model, missing)
    stored = pa.concat_tables([read_table(run.storage, path) for path in _stored(run.storage, encoder_id)])
    stored = stored.combine_chunks()
    dim = _assemble(run, encoder_id, stored, catalog)
    if run.config.has_user_texts:
        _assemble_user_texts(run, encoder_id, stored, user_texts)
    return EncodedTexts(
        rows=len(catalog),
        encoded=len(missing),
        user_texts=len(user_texts),
        encoder_id=encoder_id,
        dim=dim,
        path=run.text_vectors_path(encoder_id),
        peak_memory_mb=peak_of(records),
    )


def configured_encoder(run: Run) -> str:
    """Digest of the encoder that the config names; one that is to learn the catalog's texts does it now."""
    spec = run.config.encoder
    if spec.model is None:
        return scratch_encoder(run)
    base_id = _named_encoder(run)
    return adapted_encoder(run, base_id) if spec.is_adapted else base_id


def _require_arm_encoders(run: Run, encoder_id: str) -> None:
    """Compare the encoder of each arm's model with that of the night.

    A model that is missing is passed over: `require_arm_models` names it.

    Raises:
        ConfigError: the model of an arm was trained with another encoder.
    """
    for key, model in models_of_arms(run.config.experiments).items():
        if not run.storage.exists(f"{run.model_path(model)}/model.json"):
            continue
        if (theirs := model_card(run, model).encoder_id) != encoder_id:
            raise ConfigError(
                f"{key}: {model} reads the text encoder {theirs[:12]}, the night's model reads {encoder_id[:12]}; name "
                f"a model that was trained with the same encoder"
            )


def _named_encoder(run: Run) -> str:
    spec = run.config.encoder
    if spec.is_stored:
        with run.storage.local_folder(stored_folder(run.storage, spec)) as folder:
            return encoder_digest(str(folder), max_tokens=spec.max_tokens, precision=spec.arithmetic)
    assert spec.model is not None
    return encoder_digest(spec.model, spec.revision, spec.pooling, spec.max_tokens, spec.arithmetic)


def _store(encoder_id: str) -> str:
    return f"items/{encoder_id}"


def _missing_texts(storage: Storage, encoder_id: str, catalog: pa.Table) -> pa.Table:
    """Distinct (text, text_hash) without a stored vector, sorted by length, so that batches need little padding."""
    hashes = pc.unique(catalog["text_hash"])
    codes = np.asarray(pc.index_in(catalog["text_hash"], value_set=hashes))
    distinct = np.zeros(len(codes), bool)
    distinct[np.unique(codes, return_index=True)[1]] = True
    texts = with_large_text(catalog.select(_TEXTS.names).filter(pa.array(distinct)), "text")
    known = [read_table(storage, path, ["text_hash"])["text_hash"] for path in _stored(storage, encoder_id)]
    if known:
        stored = pa.chunked_array([chunk for column in known for chunk in column.chunks], pa.string())
        texts = texts.filter(pc.invert(pc.is_in(texts["text_hash"], value_set=stored)))
    lengths = pc.utf8_length(texts["text"])
    return texts.append_column("length", lengths).sort_by([("length", "ascending"), ("text_hash", "ascending")])


def _stored(storage: Storage, encoder_id: str) -> list[str]:
    folder = _store(encoder_id)
    return [f"{folder}/{name}" for name in storage.list(folder) if name.endswith(".parquet")]


def _encode(run: Run, encoder_id: str, encoder_model: str | None, missing: pa.Table) -> list[Record]:
    spec = run.config.encoder
    tables = [missing.slice(start, TEXTS_PER_PART) for start in range(0, len(missing), TEXTS_PER_PART)]
    # named by content: after an interruption, the same number would mean other texts, and overwrite stored vectors
    parts = {table["text_hash"][0].as_py(): table.select(_TEXTS.names).cast(_TEXTS) for table in tables}
    folder = f"{run.folder.dir}/texts"
    for part, table in parts.items():
        write_table(run.storage, f"{folder}/{part}.parquet", table, _TEXTS)
    return for_each_part(
        list(parts),
        partial(_encoder, run, encoder_id, encoder_model, folder),
        label="encode",
        num_workers=spec.num_workers,
        gpus_per_worker=int(spec.use_gpu),
    )


def _encoder(run: Run, encoder_id: str, encoder_model: str | None, folder: str) -> Callable[[str], Record]:
    spec = run.config.encoder
    device = "cuda" if spec.use_gpu else "cpu"
    with open_encoder(run.storage, run.config, encoder_id, encoder_model, device) as encoder:
        pass  # it is loaded, and its folder is not needed any more

    def encode(part: str) -> Record:
        texts = read_table(run.storage, f"{folder}/{part}.parquet")
        vectors = encoder.encode(texts["text"].to_pylist(), spec.batch_size)
        schema = text_vectors(encoder.dim)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), encoder.dim)
        table = pa.Table.from_arrays([texts["text_hash"].combine_chunks(), lists], schema=schema)
        write_table(run.storage, f"{_store(encoder_id)}/{run.folder.run_id}-{part}.parquet", table, schema)
        return {"rows": len(texts)}

    return encode


def _assemble(run: Run, encoder_id: str, stored: pa.Table, catalog: pa.Table) -> int:
    """Write the vector of each item of the catalog, in its order, 0 for an item without text; returns its length.

    The encoder has a vector for the empty text too. With it, all items without text would be the same thing to whatever
    compares texts.
    """
    dim: int = stored.schema.field("vector").type.list_size
    schema = item_vectors(dim)
    vectors = _vectors_of(stored, catalog)
    without = pc.equal(catalog["text"], "")
    if pc.any(without).as_py():
        zeros = pa.repeat(pa.scalar([0.0] * dim, schema.field("vector").type), len(catalog))
        vectors = pc.if_else(without, zeros, vectors)
    table = pa.Table.from_arrays([catalog["item_id"], vectors], schema=schema)
    write_table(run.storage, run.text_vectors_path(encoder_id), table, schema)
    return dim


def _assemble_user_texts(run: Run, encoder_id: str, stored: pa.Table, user_texts: pa.Table) -> None:
    """Write the vector of each text of the users."""
    schema = user_text_vectors(stored.schema.field("vector").type.list_size)
    table = pa.Table.from_arrays([user_texts["text"], _vectors_of(stored, user_texts)], schema=schema)
    write_table(run.storage, run.user_text_vectors_path(encoder_id), table, schema)


def _vectors_of(stored: pa.Table, texts: pa.Table) -> pa.ChunkedArray:
    rows = pc.index_in(texts["text_hash"], value_set=stored["text_hash"].combine_chunks())
    assert not rows.null_count, "a text was not encoded"
    return stored["vector"].take(rows)
