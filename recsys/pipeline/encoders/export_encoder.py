"""The text encoder in the form of ONNX Runtime: written by the first night that needs it, and found by later ones."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from recsys.model.file_hashes import HASHES_FILE
from recsys.model.onnx_encoder import EXPORT_FILE
from recsys.pipeline.encoders.open_encoder import open_trainable
from recsys.pipeline.encoders.transfer_encoder import export_folder
from recsys.pipeline.run import Record, Run
from recsys.pipeline.workers.cluster import for_each_part
from recsys.storage.tables import read_table

logger = logging.getLogger(__name__)

#: Texts of the catalog on which an export is compared with torch.
NUM_TEXTS = 256


def settle_export(run: Run, source_id: str, encoder_id: str, encoder_model: str | None) -> None:
    """Write the export, unless the storage has it.

    Args:
        run: Its catalog has the texts for the comparison with torch.
        source_id: Digest of the encoder that torch runs.
        encoder_id: Digest of the vectors of the export.
        encoder_model: See `ModelCard.encoder_model`.

    Raises:
        ConfigError: the model cannot be exported, or the vectors differ from those of torch.
    """
    place = export_folder(encoder_id, encoder_model)
    if run.storage.exists(f"{place}/{HASHES_FILE}"):  # it is written last
        if _is_of(run, place, encoder_id):
            return
        # training was started again, and the model had another encoder before
        run.storage.delete(f"{place}/{HASHES_FILE}")
        run.storage.delete_folder(place)
    logger.info("encode: exporting the text encoder for ONNX Runtime to %s", run.storage.url(place))
    for_each_part([encoder_id], partial(_exporter, run, source_id, encoder_model), label="encode", num_workers=1)


def _is_of(run: Run, place: str, encoder_id: str) -> bool:
    """Whether an export is of this encoder; the loader says where it is damaged."""
    try:
        return bool(run.storage.read_json(f"{place}/{EXPORT_FILE}")["encoder_id"] == encoder_id)
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return True


def _exporter(run: Run, source_id: str, encoder_model: str | None) -> Callable[[str], Record]:
    from recsys.model.onnx_export import export_encoder  # it imports the exporter of torch

    texts = read_table(run.storage, run.catalog_path, ["text"])["text"].unique()
    places = np.linspace(0, len(texts) - 1, min(NUM_TEXTS, len(texts)), dtype=np.int64)
    compared = ["", *texts.take(places).to_pylist()]

    quantization = run.config.encoder.quantization
    assert quantization != "int8_weights", "the config refuses it with this engine"

    def export(encoder_id: str) -> Record:
        with TemporaryDirectory(prefix="recsys-export-") as name:
            folder = Path(name)
            with open_trainable(run.storage, run.config, source_id, encoder_model) as encoder:
                export_encoder(encoder, folder, compared, quantization, encoder_id)
            place, marker = export_folder(encoder_id, encoder_model), (folder / HASHES_FILE).read_bytes()
            (folder / HASHES_FILE).unlink()
            run.storage.upload_folder(folder, place)
            run.storage.write_bytes(f"{place}/{HASHES_FILE}", marker)
        return {"texts": len(compared)}

    return export
