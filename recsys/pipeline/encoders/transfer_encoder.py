"""The text encoder of another shop's published model, as `encoder.model: storage://…` names it.

The first start of a run copies it into the own storage. Later steps and the live service read the copy, so that the
other shop may publish or delete models meanwhile. Only weights as safetensors, tokenizers and settings are copied.
"""

import hashlib
import logging
import shutil
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from recsys.errors import ConfigError, InputError
from recsys.model.checkpoint import ENCODER_FOLDER, ModelCard, read_card
from recsys.model.config import OTHER_STORAGE, EncoderConfig
from recsys.model.encoder_files import (
    declare_modules,
    dense_folders,
    encoder_digest,
    model_files,
    read_json,
    resolve_pooling,
)
from recsys.model.file_hashes import write_hashes
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from recsys.storage.record_kinds import ENCODER_NOTE

logger = logging.getLogger(__name__)


def take_encoder(own: Storage, spec: EncoderConfig) -> str:
    """Copy the encoder into the own storage, unless it is there.

    Args:
        own: Where the copy goes.
        spec: `model` names the other storage; `revision` is the id of a model, None: of the published one.

    Returns:
        The id of the model, which is the `encoder.revision` from now on.

    Raises:
        ConfigError: the other storage has no such model, or the model has no encoder of its own.
        InputError: the files are not those that the model was trained with.
    """
    other = Storage(str(spec.model).removeprefix(OTHER_STORAGE))
    where = f"encoder.model={spec.model}"
    try:
        model_id = spec.revision or require_latest(other).model_id
        if own.exists(_note(spec.model, model_id)):
            return model_id
        with other.local_folder(f"models/{model_id}", recursive=False) as folder:
            card = read_card(folder, other.url(f"models/{model_id}"))
    except InputError as error:
        raise ConfigError(f"{where}: {error}") from error
    except FileNotFoundError as error:
        raise ConfigError(
            f"{where}: no model {spec.revision}; set encoder.revision to null for the published one"
        ) from error
    theirs = _their_settings(other, model_id)
    source = encoder_folder(card.encoder_id, card.encoder_model)
    if not other.exists(f"{source}/config.json"):
        raise ConfigError(
            f"{where}: the model {model_id} reads the encoder {theirs.model}, and did not train it: name that encoder"
        )
    kept = encoder_folder(card.encoder_id, None)
    with other.local_folder(source) as folder, TemporaryDirectory(prefix="recsys-encoder-") as copy:
        _copy(folder, Path(copy), theirs.max_tokens, where)
        _check(Path(copy), card, theirs, where)
        own.upload_folder(copy, kept)
    note = {"folder": kept, "from": other.root, "model_id": model_id}
    own.write_json(_note(spec.model, model_id), ENCODER_NOTE.stamp(note))
    logger.info("%s: the encoder of %s (%s) is copied to %s", where, model_id, other.root, own.url(kept))
    return model_id


def taken_folder(own: Storage, spec: EncoderConfig) -> str:
    """Folder of the copy that `take_encoder` made, below the own storage."""
    assert spec.revision is not None, "the first start of a run settles the model"
    note = _note(spec.model, spec.revision)
    folder: str = ENCODER_NOTE.current(own.read_json(note), own.url(note))["folder"]
    return folder


def encoder_folder(encoder_id: str, encoder_model: str | None) -> str:
    """Where a storage has an encoder: with the model that it was trained with, else by its digest."""
    return f"models/encoder-{encoder_id}" if encoder_model is None else f"models/{encoder_model}/{ENCODER_FOLDER}"


def export_folder(encoder_id: str, encoder_model: str | None) -> str:
    """Where a storage has an encoder in the form of ONNX Runtime: beside the encoder. Arguments as above."""
    return f"{encoder_folder(encoder_id, encoder_model)}-onnx"


def share_encoder(storage: Storage, model_id: str, refit_id: str) -> None:
    """Give a refit the encoder that was trained with the model which it continues, in each form that there is."""
    for place in (encoder_folder, export_folder):
        if storage.list(place("", model_id)):
            with storage.local_folder(place("", model_id)) as folder:
                storage.upload_folder(folder, place("", refit_id))


def _note(model: str | None, model_id: str) -> str:
    named = hashlib.sha256(f"{model}\n{model_id}".encode()).hexdigest()
    return f"models/transferred-encoders/{named[:32]}.json"


def _their_settings(other: Storage, model_id: str) -> EncoderConfig:
    """What the digest of the encoder covers besides its files. Nothing else of the other shop's config is read."""
    path = f"runs/{model_id.removeprefix('ranker-').removesuffix('-refit')}/config.yaml"
    try:
        raw: Any = YAML(typ="safe", pure=True).load(other.read_bytes(path))["encoder"]
        return EncoderConfig(**{name: raw[name] for name in ("model", "max_tokens", "precision")})
    except (FileNotFoundError, YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{other.url(path)}: no settings of the encoder of {model_id} can be read ({error})"
        ) from error


def _copy(folder: Path, copy: Path, max_tokens: int, where: str) -> None:
    names = model_files(folder)
    if bad := [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]:
        raise InputError(f"{where}: its folder names the file {bad[0]}, which is outside of it")
    for name in names:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, copy / name)
    declare_modules(
        copy,
        pooling=resolve_pooling(folder, "auto"),
        hidden_size=read_json(folder / "config.json")["hidden_size"],
        max_tokens=max_tokens,
        dense=[path.name for path in dense_folders(folder)],
    )
    write_hashes(copy)


def _check(copy: Path, card: ModelCard, theirs: EncoderConfig, where: str) -> None:
    found = encoder_digest(str(copy), max_tokens=theirs.max_tokens, precision=theirs.arithmetic)
    if found != card.encoder_id:
        raise InputError(
            f"{where}: the files of the encoder of {card.model_id} have the digest {found[:12]}, and the model was "
            f"trained with {card.encoder_id[:12]}: they are damaged or were changed; take another by encoder.revision"
        )
