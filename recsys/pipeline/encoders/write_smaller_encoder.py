"""Writes an encoder with fewer layers or tokens into the storage, before it learns; it runs in a worker."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from recsys.errors import ConfigError
from recsys.model.prune_encoder import stored_dtype, write_pruned
from recsys.model.text_encoder import TextEncoder
from recsys.model.transformer_layers import num_layers, only_layers
from recsys.pipeline.encoders.encoder_variants import EncoderVariant
from recsys.pipeline.encoders.lessons import Lessons, SourceEncoder, read_lessons, shop_texts
from recsys.pipeline.encoders.open_encoder import open_trainable
from recsys.pipeline.run import Run
from recsys.training.choose_layers import choose_layers
from recsys.training.distill import fitted_dense

#: Texts by which layers are chosen, and to which a dense layer is fitted.
_CHOICE_TEXTS, _DENSE_TEXTS = 256, 2048


def write_smaller_encoder(
    run: Run, source: SourceEncoder, variant: EncoderVariant, place: str, lessons_path: str | None
) -> dict[str, Any]:
    """Write a variant, and say what it consists of.

    Args:
        run: The published night.
        source: Its encoder.
        variant: What is left.
        place: Folder in the storage.
        lessons_path: Texts by which layers are chosen; None: it keeps all layers.

    Returns:
        `layers` (None: all), `tokens`, and `dtype`: the type in which the source stores its weights.

    Raises:
        ConfigError: this kind of encoder cannot be made smaller, or it has not so many layers.
    """
    torch.set_num_threads(1)
    texts = shop_texts(run) if variant.vocabulary else None
    opened = open_trainable(run.storage, run.config, source.encoder_id, source.encoder_model)
    with opened as encoder, TemporaryDirectory(prefix="recsys-encoder-") as name:
        layers, dense = None, None
        if variant.layers is not None and lessons_path is not None:
            lessons = read_lessons(run.storage, lessons_path)
            layers = _chosen(encoder, variant.layers, lessons, run.config.encoder.batch_size)
            dense = _dense(encoder, layers, lessons)
        folder, spare = Path(name), run.config.compress.spare_tokens
        write_pruned(encoder, folder, layers=layers, texts=texts, spare_tokens=spare, dense=dense)
        run.storage.upload_folder(folder, place)
        tokens = len(TextEncoder.load(name, max_tokens=encoder.max_tokens).tokenizer)
        return {"layers": layers, "tokens": tokens, "dtype": str(stored_dtype(encoder.folder)).removeprefix("torch.")}


def _chosen(encoder: TextEncoder, num: int, lessons: Lessons, batch_size: int) -> list[int]:
    """Numbers of the layers to keep, by held-out texts."""
    there = num_layers(encoder.model)
    if num > there:
        raise ConfigError(f"compress.layers={num}: the encoder has {there} layers")
    rows = np.flatnonzero(lessons.held_out)[:_CHOICE_TEXTS]
    return choose_layers(encoder, [lessons.texts[row] for row in rows], lessons.vectors[rows], num, batch_size)


def _dense(encoder: TextEncoder, layers: list[int], lessons: Lessons) -> tuple[torch.Tensor, torch.Tensor] | None:
    """A layer that brings vectors to the width of the teacher's; None: they have it."""
    if encoder.dim == lessons.vectors.shape[1]:
        return None
    rows = np.flatnonzero(~lessons.held_out)[:_DENSE_TEXTS]
    with only_layers(encoder.model, layers):
        vectors = encoder.encode([lessons.texts[row] for row in rows])
    return fitted_dense(vectors, lessons.vectors[rows])
