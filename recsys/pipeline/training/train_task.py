"""The model that a training worker trains: a ranker for the catalog of the run, with or without its text encoder."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import torch

from recsys.config.section import Precision
from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.checkpoint import (
    ENCODER_FOLDER,
    EVENT_EMBEDDING,
    ModelCard,
    load_weights,
    remap_kinds,
    save_ranker,
)
from recsys.model.decoder import build_decoder, decoder_config
from recsys.model.encoder_files import folder_digest
from recsys.model.ranker_spec import RankerSpec
from recsys.pipeline.encoders.open_encoder import open_trainable
from recsys.pipeline.run import Run
from recsys.pipeline.stages import ENCODE_TEXTS, INGEST_EVENTS, LEARN_BASKETS
from recsys.pipeline.stored.item_texts import read_encoder_texts
from recsys.pipeline.stored.published_model import model_card
from recsys.pipeline.stored.stored_item_counts import read_item_counts
from recsys.pipeline.stored.stored_vectors import read_text_vectors, read_user_text_vectors
from recsys.pipeline.training.learned_items import learned_counts
from recsys.training.missing_ids import draw_missing_ids
from recsys.training.objective import Objective, TrainableRanker

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A model in training, and the catalog that it scores."""

    ranker: TrainableRanker
    item_ids: pa.Array
    card: ModelCard
    text_vectors: torch.Tensor | None
    """[Q, T] vectors of the users' texts, on the training device; None if histories hold no texts."""


def build_task(run: Run, model_id: str, warm_model: str | None, *, learns: bool = True) -> Task:
    """A ranker of the configured sizes for the catalog of the run.

    Args:
        run: With a finished encode stage.
        model_id: Of the model to make: the run's own, or that of its refit.
        warm_model: Id of the model whose weights it starts from; None: random weights.
        learns: Whether it is trained now. If not, it is what the model that it starts from is.
    """
    is_refit = model_id == run.refit_id
    config = run.config
    warm = None if warm_model is None else model_card(run, warm_model)
    configured = run.record(ENCODE_TEXTS).encoder_id
    encoder_id = warm.encoder_id if warm else configured
    if config.encoder.train == "baskets":
        encoder_id = run.record(LEARN_BASKETS).encoder_id
    item_ids, text_vectors = read_text_vectors(run, encoder_id)
    spec = _spec(run, len(item_ids), text_vectors.shape[1])
    kinds, max_length = run.record(INGEST_EVENTS).kinds, config.histories.max_length
    kept = warm if not learns else None  # stays as it is, also where the settings or the kinds of events are others now
    if kept is not None:
        spec = replace(kept.spec, num_items=len(item_ids))
        kinds, max_length = kept.event_kinds, kept.max_length
    ranker = TrainableRanker(
        spec,
        torch.from_numpy(text_vectors.copy()),
        torch.from_numpy(read_item_counts(run, "full", item_ids) if is_refit else learned_counts(run, item_ids)),
        Objective.of(config.train, config.recommend.exclude_seen),
        build_decoder(config.ranker) if kept is None else None,
    )
    ranker.text_adapter.fit(ranker.text_vectors)
    if warm is not None:  # it brings the matrix that its adapter was trained with
        known = _load_weights(ranker, run, warm, item_ids, kinds)
        if not learns:
            ranker.known.copy_(known)  # an item that came since has an id that was never trained
    if learns:
        draw_missing_ids(ranker)
    if config.ranker.train == "lora" and learns:
        ranker.add_lora(config.ranker.lora_rank)
    if config.encoder.learns_with_ranker and not is_refit:
        ranker.add_encoder(learning_encoder(run, encoder_id, warm.encoder_model if warm else None))
    card = ModelCard(
        model_id=model_id,
        base=run.model_id if is_refit else None,
        encoder_id=encoder_id,
        base_encoder_id=configured if config.encoder.learns else None,
        trained_until=warm.trained_until if warm and not learns else (run.end if is_refit else run.cutoff).isoformat(),
        candidate_pass=(is_refit or not learns) and warm is not None and warm.candidate_pass,
        trained=learns or (warm is not None and warm.trained),
        max_length=max_length,
        event_kinds=kinds,
        spec=spec,
    )
    texts = torch.from_numpy(read_user_text_vectors(run, encoder_id).vectors.copy()) if spec.user_texts else None
    return Task(ranker=ranker, item_ids=item_ids, card=card, text_vectors=texts)


def _spec(run: Run, num_items: int, text_dim: int) -> RankerSpec:
    """The sizes of the configured ranker."""
    config = run.config
    return RankerSpec(
        num_items=num_items,
        text_dim=text_dim,
        item_dim=config.ranker.hidden_size,
        num_event_kinds=len(run.record(INGEST_EVENTS).kinds),
        decoder=decoder_config(config.ranker, config.histories.max_length + config.has_profiles),
        dropout=config.ranker.dropout,
        id_dropout=config.ranker.id_dropout,
        parts=config.ranker.parts,
        user_texts=config.has_user_texts,
        logit_bias=config.train.objective != "softmax",
        relative_time=config.ranker.relative_time,
    )


def _load_weights(
    ranker: TrainableRanker, run: Run, start: ModelCard, item_ids: pa.Array, kinds: list[str]
) -> torch.Tensor:
    """Start from the weights of a model, for the kinds of events of the ranker; returns [I] the items that it knows."""
    model_id = start.model_id
    with run.storage.local_folder(run.model_path(model_id), recursive=False) as folder:
        weights, known = load_weights(folder, item_ids)
    if EVENT_EMBEDDING in weights:
        weights[EVENT_EMBEDDING] = remap_kinds(weights[EVENT_EMBEDDING], start.event_kinds, kinds)
    skipped = ranker.load_fitting(weights)
    if skipped:
        logger.info("finetune: %d tensors of %s do not fit and start at random: %s", len(skipped), model_id, skipped)
    return known


def learning_encoder(run: Run, encoder_id: str, encoder_model: str | None) -> CatalogEncoder:
    """The encoder of this digest with the texts that it reads in training, in fp32.

    Args:
        run: The run.
        encoder_id: The digest.
        encoder_model: See `ModelCard.encoder_model`.
    """
    spec = run.config.encoder
    texts = read_encoder_texts(run)["text"].to_pylist()
    texts += read_user_text_vectors(run, encoder_id).texts.to_pylist()  # they follow the texts of the catalog
    with open_trainable(run.storage, run.config, encoder_id, encoder_model) as encoder:
        return CatalogEncoder(encoder, texts, spec.batch_size, spec.lora_rank if spec.train == "lora" else None)


def save_task(folder: Path, task: Task, precision: Precision) -> None:
    """Write the ranker, and the encoder if it is trained; ``precision`` is part of the encoder's digest."""
    ranker, card = task.ranker, task.card
    if (encoder := ranker.encoder) is not None:
        path = folder / ENCODER_FOLDER
        encoder.save(path)
        card = replace(card, encoder_id=folder_digest(path, encoder.pooling, encoder.max_tokens, precision))
    save_ranker(folder, ranker.whole_weights(), ranker.known, task.item_ids, card)
