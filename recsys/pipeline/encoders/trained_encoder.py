"""Text encoders that learned the catalog's texts: a small one from scratch, or a pretrained one that goes on learning.

The first night that needs one trains it. Later nights and the live service use it, also when the catalog has changed.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from recsys.errors import NewerFormatError
from recsys.model.config import AdaptConfig
from recsys.model.encoder_files import encoder_digest
from recsys.pipeline.encoders.open_encoder import open_trainable
from recsys.pipeline.encoders.transfer_encoder import encoder_folder
from recsys.pipeline.run import Run
from recsys.pipeline.stages import INGEST_CATALOG
from recsys.pipeline.workers.worker_pools import call_in_worker
from recsys.storage.filesystem import Storage
from recsys.storage.record_kinds import ENCODER_NOTE
from recsys.storage.tables import read_table
from recsys.training.adapt import adapt_encoder
from recsys.training.pretrain import pretrain_encoder

logger = logging.getLogger(__name__)


def scratch_encoder(run: Run) -> str:
    """Digest of the small encoder of this config."""
    note = f"models/scratch-encoders/{run.config.encoder_recipe()}.json"
    steps = run.config.encoder.scratch.pretrain_steps
    said = f"pretraining a small text encoder on the catalog ({steps} steps)"
    return _trained_once(run, note, said, lambda: call_in_worker(_pretrain, run, label="encode", num_cpus=1))


def adapted_encoder(run: Run, base_id: str) -> str:
    """Digest of the configured encoder once it has learned the catalog's texts.

    Args:
        run: Whose catalog it learns, if no night before did.
        base_id: Digest of the configured encoder as it was.

    Raises:
        ConfigError: it cannot learn what `encoder.adapt.objective` says.
    """
    note = f"models/adapted-encoders/{run.config.adapted_recipe(base_id)}.json"
    spec = run.config.encoder
    said = f"the text encoder learns the catalog's texts ({spec.adapt.steps} steps)"
    gpus = int(spec.use_gpu)
    return _trained_once(
        run, note, said, lambda: call_in_worker(_adapt, run, base_id, label="encode", num_cpus=1, num_gpus=gpus)
    )


def _trained_once(run: Run, note: str, said: str, train: Callable[[], str]) -> str:
    """Digest of the encoder that the note names, else of one that is trained now.

    A night without any text uses an encoder that is not trained. Later nights do not use it.
    """
    if (known := _noted_encoder(run.storage, note)) is not None:
        return known
    logger.info("encode: %s", said)
    encoder_id = train()
    if run.record(INGEST_CATALOG).texts:
        run.storage.write_json(note, ENCODER_NOTE.stamp({"encoder_id": encoder_id, "trained_by": run.folder.run_id}))
    return encoder_id


def _noted_encoder(storage: Storage, path: str) -> str | None:
    """Digest of the encoder that a night has trained; None if there is no note, or one of a newer release."""
    if not storage.exists(path):
        return None
    try:
        encoder_id: str = ENCODER_NOTE.current(storage.read_json(path), storage.url(path))["encoder_id"]
    except NewerFormatError as error:
        logger.warning("%s; this night trains the encoder again", error)
        return None
    return encoder_id


def _pretrain(run: Run) -> str:
    spec = run.config.encoder
    encoder = pretrain_encoder(_texts(run), spec.scratch, spec.max_tokens, run.config.seed)
    with TemporaryDirectory() as folder:
        encoder.save(folder)
        run.storage.upload_folder(folder, encoder_folder(encoder.digest, None))
    return encoder.digest


def _adapt(run: Run, base_id: str) -> str:
    spec = run.config.encoder
    base = run.config.model_copy(update={"encoder": spec.model_copy(update={"adapt": AdaptConfig()})})
    device = "cuda" if spec.use_gpu else "cpu"
    with TemporaryDirectory(prefix="recsys-encoder-") as name:
        with open_trainable(run.storage, base, base_id, None, device) as encoder:
            adapt_encoder(encoder, _texts(run), spec.adapt, run.config.seed).save(Path(name))
        encoder_id = encoder_digest(name, max_tokens=spec.max_tokens, precision=spec.arithmetic)
        run.storage.upload_folder(name, encoder_folder(encoder_id, None))
    return encoder_id


def _texts(run: Run) -> list[str]:
    texts: list[str] = read_table(run.storage, run.catalog_path, ["text"])["text"].to_pylist()
    return texts
