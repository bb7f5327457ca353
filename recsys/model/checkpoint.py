"""A ranker in a folder: weights, vocabulary and card.

``ranker.safetensors`` holds the weights, ``vocabulary.parquet`` the item of each id embedding, ``model.json`` the card,
``hashes.json`` the hashes of the first two, which are verified before they are used.
A text encoder that was trained with the ranker is in ``encoder/``.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recsys.errors import InputError, NewerFormatError
from recsys.model.features import index_items
from recsys.model.file_hashes import HASHES_FILE, verify_hashes, write_hashes
from recsys.model.ranker import Ranker
from recsys.model.ranker_spec import ARCHITECTURE, RankerSpec
from recsys.model.text_adapter import TextAdapter
from recsys.storage.json_files import to_json
from recsys.storage.record_kinds import MODEL_CARD

#: Weights of the signals; they are fitted after the ranker and written beside it.
FUSION_FILE = "fusion.json"
#: Trees that correct the weighted sum, where there are any; the file of the weights names its hash.
TREES_FILE = "fusion_trees.json"
MODEL_FILES = ("ranker.safetensors", "vocabulary.parquet", "model.json", HASHES_FILE)
ENCODER_FOLDER = "encoder"
ID_EMBEDDING = "id_embedding.weight"
EVENT_EMBEDDING = "event_embedding.weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Description of a model, in ``model.json``."""

    model_id: str
    base: str | None
    """Id of the model that this one continues as a refit; that model was not trained on the held-out days."""
    encoder_id: str
    """Digest of the text encoder that the ranker was trained with."""
    trained_until: str
    """ISO 8601; training saw no event from this time on."""
    max_length: int
    event_kinds: list[str]
    spec: RankerSpec
    candidate_pass: bool = False
    """Whether lists use the candidate pass: on validation it ranked better than retrieval."""
    trained: bool = True
    """Whether training had something to learn from, in this night or in one before; else the weights are random."""
    base_encoder_id: str | None = None
    """Digest of the configured encoder, if ``encoder_id`` was trained from it, in one night or several."""
    architecture: int = ARCHITECTURE
    """Version of the network that the weights belong to, see `recsys.model.ranker_spec.ARCHITECTURE`."""

    @property
    def encoder_model(self) -> str | None:
        """Id of the model whose folder holds the encoder; None: the encoder is the configured one."""
        return None if self.base_encoder_id is None else self.model_id

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return asdict(self)


def save_ranker(folder: Path, weights: dict[str, Tensor], known: Tensor, item_ids: pa.Array, card: ModelCard) -> None:
    """Write a ranker.

    Args:
        folder: Existing folder.
        weights: Whole weights of the ranker (not sharded).
        known: [I] bool, items with training interactions.
        item_ids: [I] ids in the order of the embeddings.
        card: For ``model.json``.
    """
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, folder / "ranker.safetensors"
    )
    pq.write_table(
        pa.table({"item_id": item_ids, "known": pa.array(known.cpu().numpy())}), folder / "vocabulary.parquet"
    )
    (folder / "model.json").write_bytes(to_json(MODEL_CARD.stamp(card.as_dict())))
    write_hashes(folder, ("ranker.safetensors", "vocabulary.parquet"))


def read_card(folder: Path, url: str | None = None) -> ModelCard:
    """The card of a saved model.

    Args:
        folder: Where `save_ranker` wrote, or a copy of it.
        url: Of what it is a copy, for messages.

    Raises:
        InputError: ``model.json`` is missing or broken.
        NewerFormatError: a newer release wrote it.
    """
    path = f"{url or folder}/model.json"
    try:
        raw = MODEL_CARD.current(json.loads((folder / "model.json").read_text()), path)
        known = {field.name: raw[field.name] for field in fields(ModelCard) if field.name in raw}
        return ModelCard(**{**known, "spec": _spec(raw["spec"], path)})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"model {url or folder}: model.json is missing or broken ({error}); train it again with --force"
        ) from error


def _spec(raw: dict[str, Any], path: str) -> RankerSpec:
    """The spec of a card. An option that this release does not know may only be off."""
    known = {field.name for field in fields(RankerSpec)}
    if on := sorted(name for name, value in raw.items() if name not in known and value):
        raise NewerFormatError(
            f"{path}: its network has {', '.join(on)}, which this release does not know: install the release that "
            f"trained it or a later one"
        )
    return RankerSpec(**{name: value for name, value in raw.items() if name in known})


def load_ranker(folder: Path, item_ids: pa.Array, text_vectors: Tensor) -> tuple[Ranker, ModelCard]:
    """A saved ranker for today's catalog, in evaluation mode.

    Items that training did not see have no id embedding: their vector comes from their text alone. Id embeddings of
    items that left the catalog are dropped.

    Args:
        folder: Where `save_ranker` wrote.
        item_ids: [I] sorted ids of today's catalog.
        text_vectors: [I, T] of the same items, by the encoder that the card names.

    Raises:
        InputError: a file is missing or broken.
        NewerFormatError: a newer release wrote it.
    """
    card = read_card(folder)
    if card.architecture > ARCHITECTURE:
        raise NewerFormatError(
            f"model {folder}: its network has version {card.architecture}, and this release knows versions up to "
            f"{ARCHITECTURE}: install the release that trained it or a later one"
        )
    weights, known = load_weights(folder, item_ids)
    spec = RankerSpec(**{**asdict(card.spec), "num_items": len(item_ids)})
    ranker = Ranker(spec, text_vectors, known)
    try:
        ranker.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"model {folder}: its weights do not fit its model.json ({error})") from error
    return ranker.eval(), card


def load_weights(folder: Path, item_ids: pa.Array) -> tuple[dict[str, Tensor], Tensor]:
    """Weights of a saved ranker, with id embeddings in the order of ``item_ids``, and [I] the items that have one."""
    verify_hashes(folder)
    try:
        weights = load_file(folder / "ranker.safetensors")
        vocabulary = pq.read_table(folder / "vocabulary.parquet")
    except (OSError, ValueError, SafetensorError, pa.ArrowException) as error:
        raise InputError(f"model {folder}: weights or vocabulary cannot be read ({error})") from error
    missing = {"item_id", "known"} - set(vocabulary.column_names)
    if missing or ID_EMBEDDING not in weights or len(weights[ID_EMBEDDING]) != len(vocabulary):
        raise InputError(f"model {folder}: its weights and its vocabulary belong to different models")
    weights[ID_EMBEDDING], known = remap_items(
        weights[ID_EMBEDDING], vocabulary["known"].to_numpy(), vocabulary["item_id"].combine_chunks(), item_ids
    )
    return _raw_texts(weights) | weights, known


def _raw_texts(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Mean and matrix for weights of architecture 2 and older, which read text vectors as they are."""
    adapter = weights.get("text_adapter.weight")
    if adapter is None:
        return {}
    return {f"text_adapter.{name}": buffer for name, buffer in TextAdapter(adapter.shape[1], 1).named_buffers()}


def remap_items(
    embedding: Tensor, known: np.ndarray[Any, np.dtype[np.bool_]], old_ids: pa.Array, new_ids: pa.Array
) -> tuple[Tensor, Tensor]:
    """Id embeddings [I_old, D] and known flags [I_old] in the order of ``new_ids``; new items get zeros and False."""
    old = torch.from_numpy(index_items(new_ids, old_ids))
    found = old >= 0
    rows = embedding.new_zeros(len(new_ids), embedding.shape[1])
    rows[found] = embedding[old[found]]
    flags = torch.zeros(len(new_ids), dtype=torch.bool)
    flags[found] = torch.from_numpy(known.copy())[old[found]]
    return rows, flags


def remap_kinds(embedding: Tensor, old_kinds: Sequence[str], new_kinds: Sequence[str]) -> Tensor:
    """Embeddings [1 + new kinds, D] of kinds of events, from those of a model [1 + old kinds, D] that has other kinds.

    A new kind begins with the embedding of kind 0, as which the model read its events before.
    """
    place = {kind: 1 + number for number, kind in enumerate(old_kinds)}
    return embedding[[0, *(place.get(kind, 0) for kind in new_kinds)]]
