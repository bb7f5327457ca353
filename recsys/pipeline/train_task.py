"""What is trained: the ranker of the configured sizes over a night's catalog, with or without its text encoder."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from recsys.config.section import Precision
from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.checkpoint import ENCODER_FOLDER, ModelCard, load_weights, save_ranker
from recsys.model.decoder import build_decoder, decoder_config
from recsys.model.encoder_files import folder_digest
from recsys.model.features import index_items
from recsys.model.ranker import RankerSpec
from recsys.pipeline.encode_texts import open_encoder, read_text_vectors, read_user_text_vectors
from recsys.pipeline.published_model import model_card
from recsys.pipeline.run import Run
from recsys.pipeline.stages import ENCODE_TEXTS, INGEST_EVENTS
from recsys.storage.tables import read_table
from recsys.training.objective import Objective, TrainableRanker

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained: the ranker and the catalog it stands on."""

    ranker: TrainableRanker
    item_ids: pa.Array
    card: ModelCard
    text_vectors: torch.Tensor | None
    """[Q, T] of what users are and said, on the training device; None where histories hold no texts."""


def build_task(run: Run, model_id: str, warm_model: str | None) -> Task:
    """The ranker of the configured sizes over the night's catalog, warm-started where there is a model for it."""
    is_refit = model_id == run.refit_id
    config = run.config
    warm = None if warm_model is None else model_card(run, warm_model)
    configured = run.record(ENCODE_TEXTS).encoder_id
    encoder_id = warm.encoder_id if warm else configured
    item_ids, text_vectors = read_text_vectors(run, encoder_id)
    kinds = run.record(INGEST_EVENTS).kinds
    spec = RankerSpec(
        num_items=len(item_ids),
        text_dim=text_vectors.shape[1],
        item_dim=config.ranker.hidden_size,
        num_event_kinds=len(kinds),
        decoder=decoder_config(config.ranker, config.histories.max_length + (config.inputs.users is not None)),
        dropout=config.ranker.dropout,
        id_dropout=config.ranker.id_dropout,
        parts=config.ranker.parts,
        user_texts=config.inputs.has_user_texts,
    )
    counted = read_table(run.storage, run.item_counts_path("full" if is_refit else "train"))
    counts = np.zeros(len(item_ids), dtype=np.int64)
    counts[index_items(counted["item_id"], item_ids)] = counted["num"].to_numpy()
    ranker = TrainableRanker(
        spec,
        torch.from_numpy(text_vectors.copy()),
        torch.from_numpy(counts),
        Objective.of(config.train, config.recommend.exclude_seen),
        build_decoder(config.ranker),
    )
    if warm is not None:
        _continue(ranker, run, warm.model_id, item_ids)
    if config.ranker.train == "lora":
        ranker.add_lora(config.ranker.lora_rank)
    if config.encoder.learns and not is_refit:
        ranker.add_encoder(_learning_encoder(run, encoder_id, warm.encoder_model if warm else None))
    card = ModelCard(
        model_id=model_id,
        base=run.model_id if is_refit else None,
        encoder_id=encoder_id,
        base_encoder_id=configured if config.encoder.learns else None,
        trained_until=(run.end if is_refit else run.cutoff).isoformat(),
        isolated=is_refit and warm is not None and warm.isolated,
        max_length=config.histories.max_length,
        event_kinds=kinds,
        spec=spec,
    )
    texts = torch.from_numpy(read_user_text_vectors(run, encoder_id).vectors.copy()) if spec.user_texts else None
    return Task(ranker=ranker, item_ids=item_ids, card=card, text_vectors=texts)


def _continue(ranker: TrainableRanker, run: Run, model_id: str, item_ids: pa.Array) -> None:
    with run.storage.local_folder(run.model_path(model_id), recursive=False) as folder:
        weights, _ = load_weights(folder, item_ids)
    skipped = ranker.load_fitting(weights)
    if skipped:
        logger.info("finetune: %d tensors of %s do not fit and start anew: %s", len(skipped), model_id, skipped)


def _learning_encoder(run: Run, encoder_id: str, encoder_model: str | None) -> CatalogEncoder:
    """The encoder of this digest over the texts of the catalog; DeepSpeed chooses the arithmetic."""
    spec = run.config.encoder
    whole = run.config.model_copy(update={"encoder": spec.model_copy(update={"precision": "fp32"})})
    texts = read_table(run.storage, run.catalog_path, ["text"])["text"].to_pylist()
    texts += read_user_text_vectors(run, encoder_id).texts.to_pylist()  # read like the catalog's, though no items
    with open_encoder(run.storage, whole, encoder_id, encoder_model) as encoder:
        return CatalogEncoder(encoder, texts, spec.batch_size, spec.lora_rank if spec.train == "lora" else None)


def save_task(folder: Path, task: Task, precision: Precision) -> None:
    """The ranker, and beside it the encoder where it learns, whose digest is the one of this arithmetic."""
    ranker, card = task.ranker, task.card
    if (encoder := ranker.encoder) is not None:
        path = folder / ENCODER_FOLDER
        encoder.save(path)
        card = replace(card, encoder_id=folder_digest(path, encoder.pooling, encoder.max_tokens, precision))
    save_ranker(folder, ranker.whole_weights(), ranker.known, task.item_ids, card)
