"""Kinds of stored records and the versions of their form. A record of an older release is upgraded when it is read.

`RecordKind.stamp` writes the version into a record, `RecordKind.current` reads it. A record without a version is of
version 1. The version of a kind is 1 plus the number of its upgrades.

To change the form of a kind, append a function to its upgrades. It takes the plain values of the form before, and
returns those of the new form. Do this where a field gets another name or another meaning. A new field with a default
needs no upgrade: releases leave out fields that they do not know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from recsys import __version__
from recsys.config.renamed import RENAMED_SIGNALS
from recsys.errors import InputError, NewerFormatError
from recsys.storage.json_files import WAY_OUT, decode_object

#: Field of a record that holds the version of its form.
FORMAT_VERSION = "format_version"

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class RecordKind:
    """One kind of stored records."""

    name: str
    """For messages."""
    upgrades: tuple[Upgrade, ...] = ()
    """The oldest first: the first one turns version 1 into version 2."""

    @property
    def version(self) -> int:
        """The version that this release writes, and the newest one that it reads."""
        return 1 + len(self.upgrades)

    def stamp(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record with the version of its form."""
        return {**record, FORMAT_VERSION: self.version}

    def current(self, stored: Mapping[str, Any], where: str) -> dict[str, Any]:
        """A stored record in the form of this release, without its version.

        Args:
            stored: As it was read.
            where: Its file, for messages.

        Raises:
            NewerFormatError: a newer release wrote it, in a form that this release does not know.
            ValueError: its version is no whole number above 0, or it does not have the form of its version.
        """
        version = stored.get(FORMAT_VERSION, 1)
        if type(version) is not int or version < 1:
            raise ValueError(f"{FORMAT_VERSION} is {version!r}, and must be a whole number above 0")
        if version > self.version:
            raise NewerFormatError(
                f"{where}: this {self.name} has format version {version}, and this release ({__version__}) knows "
                f"versions up to {self.version}; a newer release wrote it: install that release or a later one"
            )
        record = {name: value for name, value in stored.items() if name != FORMAT_VERSION}
        try:
            for upgrade in self.upgrades[version - 1 :]:
                record = upgrade(record)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"it does not have the form of version {version} ({error!r})") from error
        return record

    def decode(self, data: bytes, url: str, way_out: str = WAY_OUT) -> dict[str, Any]:
        """The record in the file `url`, in the form of this release.

        Raises:
            InputError: it is damaged; the message says `way_out`.
            NewerFormatError: a newer release wrote it.
        """
        try:
            return self.current(decode_object(data, url), url)
        except ValueError as error:
            raise InputError(f"{url}: is damaged ({error}); {way_out}") from error


def _name_candidate_pass(card: dict[str, Any]) -> dict[str, Any]:
    """`isolated` of a model card is `candidate_pass`."""
    return {("candidate_pass" if name == "isolated" else name): value for name, value in card.items()}


def _name_weights(fusion: dict[str, Any]) -> dict[str, Any]:
    """Weights have the new names of the signals' numbers, and `usual` is `typical_length`."""
    fusion = {("typical_length" if name == "usual" else name): value for name, value in fusion.items()}
    return fusion | {name: _new_names(fusion.get(name)) for name in ("weights", "short", "session", "parts")}


def _name_signals(config: dict[str, Any]) -> dict[str, Any]:
    """`recommend.signals` of a config has the new names of the signals' numbers."""
    recommend = config.get("recommend") or {}
    if (signals := recommend.get("signals")) is None:
        return config
    return config | {"recommend": recommend | {"signals": [RENAMED_SIGNALS.get(name, name) for name in signals]}}


def _new_names(weights: dict[str, float] | None) -> dict[str, float] | None:
    return None if weights is None else {RENAMED_SIGNALS.get(name, name): value for name, value in weights.items()}


POINTER = RecordKind("pointer to a published night")
MANIFEST_RECORD = RecordKind("manifest")
LEASE = RecordKind("lease")
RUN_START = RecordKind("record of a run's start")
STAGE = RecordKind("record of a stage")  # and of its parts: either all of them are read, or none
STORED_CONFIG = RecordKind("config of a run", (_name_signals,))
CHECKPOINT = RecordKind("checkpoint of a training")  # its version is a part of its path
MODEL_CARD = RecordKind("model card", (_name_candidate_pass,))
FILE_HASHES = RecordKind("hashes of a model's files")
FUSION = RecordKind("file of the signals' weights", (_name_weights,))
FUSION_TREES = RecordKind("file of the signals' trees")
TRAINING_PAST = RecordKind("record of a model's training")
VALIDATED_FILE = RecordKind("record of a validated file")
LEDGER_USE = RecordKind("note of the validated files that a night used")
ENCODER_NOTE = RecordKind("note about a text encoder")
COMPRESSED_NOTE = RecordKind("note about a compressed text encoder")
COMPRESSED_FIGURES = RecordKind("figures of a compressed text encoder")
ENCODER_EXPORT = RecordKind("record of an encoder's export for ONNX Runtime")
NIGHT_SUMMARY = RecordKind("summary of a night")
FEEDBACK_INDEX = RecordKind("index of compact feedback")
