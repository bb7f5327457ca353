"""Smaller text encoders that `jobs/compress.py` made, as `encoder.model: compressed://name` names them.

The storage has them, so that every machine of a cluster and the live service find them. A name is never given to
another content, since it ends with a digest of all that the encoder was made from.
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict

from recsys.config.strict_json import STRICT, as_json, from_json
from recsys.errors import ConfigError
from recsys.model.config import COMPRESSED
from recsys.storage.filesystem import Storage
from recsys.storage.record_kinds import COMPRESSED_NOTE

#: Folder of all of them.
STORE = "models/compressed-encoders"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, kw_only=True)
class CompressedNote:
    """What an encoder was made from, in `STORE`/<name>.json; it is written after the encoder's files."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    source: str
    """Digest of the encoder that was compressed."""
    model: str | None
    """`encoder.model` of it; None: a small one from scratch."""
    revision: str | None
    """`encoder.revision` of it."""
    teacher: str
    """Digest of the encoder whose vectors it learned; empty: it learned nothing."""
    layers: list[int] | None
    """Layers of the source that it has, from 0; None: all."""
    tokens: int
    """Tokens that its tokenizer knows."""
    agreement: float | None
    """With the teacher, on texts that it did not learn from, see `recsys.training.distill.agreement`; None: it learned
    nothing."""


def compressed_folder(model: str) -> str:
    """Folder of the files of an encoder, below the storage.

    Raises:
        ConfigError: it cannot be the name of one.
    """
    name = model.removeprefix(COMPRESSED)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"encoder.model={model}: {name!r} is no name of an encoder that jobs/compress.py made")
    return f"{STORE}/{name}"


def read_note(storage: Storage, model: str) -> CompressedNote | None:
    """What an encoder was made from; None: it is not there, or not finished."""
    path = f"{compressed_folder(model)}.json"
    try:
        return from_json(CompressedNote, COMPRESSED_NOTE.current(storage.read_json(path), storage.url(path)))
    except FileNotFoundError:
        return None


def write_note(storage: Storage, model: str, note: CompressedNote) -> None:
    """Write it, after all files of the encoder."""
    storage.write_json(f"{compressed_folder(model)}.json", COMPRESSED_NOTE.stamp(as_json(note)))


def require_compressed(storage: Storage, model: str) -> CompressedNote:
    """The note of an encoder that a config names.

    Raises:
        ConfigError: the storage has no such encoder.
    """
    note = read_note(storage, model)
    if note is None:
        there = sorted(name.removesuffix(".json") for name in storage.list(STORE) if name.endswith(".json"))
        known: Any = ", ".join(COMPRESSED + name for name in there) or "none"
        raise ConfigError(
            f"encoder.model={model}: {storage.url(STORE)} has no such encoder (there: {known}); make it with "
            f"jobs/compress.py, which says its name"
        )
    return note
