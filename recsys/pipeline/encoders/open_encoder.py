"""Loads the text encoder of a night: the configured one, or one that was trained with a model."""

from collections.abc import Iterator
from contextlib import contextmanager

from recsys.model.config import EncoderConfig
from recsys.model.file_hashes import verify_hashes
from recsys.model.onnx_encoder import OnnxEncoder
from recsys.model.text_encoder import TextEncoder
from recsys.pipeline.encoders.compressed_encoder import compressed_folder
from recsys.pipeline.encoders.transfer_encoder import encoder_folder, export_folder, taken_folder
from recsys.settings import Config
from recsys.storage.filesystem import Storage


@contextmanager
def open_encoder(
    storage: Storage, config: Config, encoder_id: str, encoder_model: str | None, device: str = "cpu"
) -> Iterator[TextEncoder]:
    """The encoder with this digest. The loaded model can be used after the context ends; only its folder is deleted.

    Args:
        storage: Where models are.
        config: Its settings of the encoder, which also say what runs it.
        encoder_id: The digest.
        encoder_model: See `ModelCard.encoder_model`; None: the configured model. If that is a small one from scratch,
            one that was adapted, another shop's or a compressed one, the storage has it.
        device: `cpu` or `cuda`, for torch.
    """
    spec = config.encoder
    if spec.engine == "onnx":
        with storage.local_folder(export_folder(encoder_id, encoder_model)) as folder:
            yield OnnxEncoder.open(folder)
        return
    settings = (spec.max_tokens, spec.arithmetic, device, spec.quantization)
    configured = encoder_model is None and not spec.is_adapted
    if configured and spec.model is not None and not spec.is_stored:
        yield TextEncoder.load(spec.model, spec.revision, spec.pooling, *settings)
        return
    kept = stored_folder(storage, spec) if configured and spec.is_stored else encoder_folder(encoder_id, encoder_model)
    with storage.local_folder(kept) as folder:
        verify_hashes(folder)
        yield TextEncoder.load(str(folder), None, "auto", *settings)


def stored_folder(storage: Storage, spec: EncoderConfig) -> str:
    """Folder of a configured encoder that is in the storage, see `EncoderConfig.is_stored`."""
    if spec.model is not None and spec.is_compressed:
        return compressed_folder(spec.model)
    return taken_folder(storage, spec)


@contextmanager
def open_trainable(
    storage: Storage, config: Config, encoder_id: str, encoder_model: str | None, device: str = "cpu"
) -> Iterator[TextEncoder]:
    """The same in fp32 and run by torch, whatever the config says. Arguments as in `open_encoder`."""
    whole = {"precision": "fp32", "engine": "torch", "quantization": "none"}
    config = config.model_copy(update={"encoder": config.encoder.model_copy(update=whole)})
    with open_encoder(storage, config, encoder_id, encoder_model, device) as encoder:
        yield encoder
