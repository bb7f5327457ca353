"""Which published model this night may start from and be compared with; it reads model cards, no weights."""

import logging

from recsys.distributed.night import Night
from recsys.model.checkpoint import ModelCard, read_card
from recsys.model.ranker import ARCHITECTURE
from recsys.storage.publish import read_latest

logger = logging.getLogger(__name__)


def published_model(night: Night) -> str | None:
    """Id of the published model, where it reads the same text vectors and saw nothing of this night's holdout."""
    latest = read_latest(night.storage)
    if latest is None or latest.model_id in (night.model_id, night.refit_id):
        return None
    card = _card(night, latest.model_id)
    if card.base is not None:
        card = _card(night, card.base)  # the continuation saw every day of its night, also of this one's holdout
    if card.architecture != ARCHITECTURE:
        logger.info("%s is of another version of the network: no warm start, no comparison with it", card.model_id)
        return None
    if card.encoder_id != night.record("encode")["encoder_id"]:
        logger.info("%s reads another text encoder: no warm start from it, no comparison with it", card.model_id)
        return None
    if card.trained_until > night.cutoff.isoformat():
        logger.info("%s saw days of this night's holdout: no warm start from it, no comparison with it", card.model_id)
        return None
    return card.model_id


def _card(night: Night, model_id: str) -> ModelCard:
    with night.storage.local_folder(night.model_path(model_id)) as folder:
        return read_card(folder)
