"""Reading the text vectors that the stage `encode` wrote; it needs no torch."""

import numpy as np
import pyarrow as pa

from recsys.model.features import UserTexts
from recsys.pipeline.run import Run
from recsys.storage.tables import read_table


def read_text_vectors(run: Run, encoder_id: str) -> tuple[pa.Array, np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    """Item ids of the catalog [I], and their text vectors float32 [I, T] of one encoder, in the same order."""
    table = read_table(run.storage, run.text_vectors_path(encoder_id))
    vectors = table["vector"].combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    return table["item_id"].combine_chunks(), flat.reshape(len(table), -1)


def read_user_text_vectors(run: Run, encoder_id: str) -> UserTexts:
    """The texts of the run's users with their vectors; empty if histories hold no texts."""
    if not run.config.has_user_texts:
        return UserTexts.none()
    table = read_table(run.storage, run.user_text_vectors_path(encoder_id)).combine_chunks()
    vectors = table["vector"].combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    return UserTexts(texts=table["text"].combine_chunks(), vectors=flat.reshape(len(table), vectors.type.list_size))
