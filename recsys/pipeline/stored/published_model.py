"""The published model: whether this night may continue it, and be compared with it. No weights are loaded."""

import logging

from recsys.errors import InputError, NewerFormatError
from recsys.model.checkpoint import ModelCard, read_card
from recsys.model.file_hashes import verify_hashes
from recsys.model.ranker_spec import ARCHITECTURE
from recsys.pipeline.run import Run
from recsys.pipeline.stages import ENCODE_TEXTS
from recsys.pipeline.stored.model_files import verify_model_files
from recsys.pipeline.stored.stored_fusion import read_fusion
from recsys.storage.latest import read_latest
from recsys.storage.manifest import read_manifest

logger = logging.getLogger(__name__)


def published_model(run: Run) -> ModelCard | None:
    """The published model, if this night can be compared with it; else None, and the log says why.

    It must be whole, and of a form that this release knows. It must not have seen days of this night's holdout, must
    have the same network, and the same text encoder or one that was trained from it.
    """
    if run.protocol == "leave-one-out":
        logger.info("leave-one-out: published models saw held-out events: no warm start, no comparison with them")
        return None
    latest = read_latest(run.storage)
    if latest is None or latest.model_id in (run.model_id, run.refit_id):
        return None
    try:
        card = model_card(run, latest.model_id)
        if card.base is not None:
            card = model_card(run, card.base)  # a refitted model saw all days of its night, also of this holdout
        read_fusion(run, card.model_id)
        verify_model_files(run.storage, read_manifest(run.storage, latest))
        with run.storage.local_folder(run.model_path(card.model_id), recursive=False) as folder:
            verify_hashes(folder)  # now, since a worker that finds damaged weights stops the night
    except (InputError, NewerFormatError, FileNotFoundError) as error:
        # it is damaged, or another release wrote it: the night must not stop for that
        logger.warning("no warm start from %s, no comparison with it: %s", latest.model_id, error)
        return None
    if card.architecture != ARCHITECTURE:
        logger.info("%s has another version of the network: no warm start, no comparison with it", card.model_id)
        return None
    if run.record(ENCODE_TEXTS).encoder_id not in (card.encoder_id, card.base_encoder_id):
        logger.info("%s reads another text encoder: no warm start from it, no comparison with it", card.model_id)
        return None
    if card.trained_until > run.cutoff.isoformat():
        logger.info("%s saw days of this night's holdout: no warm start from it, no comparison with it", card.model_id)
        return None
    return card


def model_to_continue(run: Run) -> ModelCard | None:
    """The published model, if training may continue it: a frozen encoder must be the configured one."""
    card = published_model(run)
    if card is not None and not card.trained:
        logger.info("%s had nothing to learn from: no warm start", card.model_id)
        return None
    if card is None or run.config.encoder.learns:
        return card
    if card.encoder_id != run.record(ENCODE_TEXTS).encoder_id:
        logger.info(
            "%s reads an encoder that was trained with it, but encoder.train is frozen: no warm start", card.model_id
        )
        return None
    return card


def published_refit(run: Run, model_id: str) -> str:
    """The published model, if it is the refit of this one; empty where it is the model itself, or of another night.

    LATEST may have moved to another night since the model was read.
    """
    latest = read_latest(run.storage)
    if latest is None or latest.model_id == model_id:
        return ""
    return latest.model_id if model_card(run, latest.model_id).base == model_id else ""


def model_card(run: Run, model_id: str) -> ModelCard:
    """The card of a model in the storage."""
    with run.storage.local_folder(run.model_path(model_id), recursive=False) as folder:
        return read_card(folder, run.storage.url(run.model_path(model_id)))
