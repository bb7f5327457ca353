"""Makes smaller variants of the text encoder of a published night: with fewer layers, and without unused tokens."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recsys.errors import ConfigError, InputError
from recsys.model.checkpoint import ENCODER_FOLDER
from recsys.model.config import COMPRESSED
from recsys.model.encoder_files import encoder_digest
from recsys.model.encoder_source import ModelKeys, model_folder
from recsys.model.prune_encoder import store_as
from recsys.pipeline.encoders.compressed_encoder import CompressedNote, compressed_folder, read_note, write_note
from recsys.pipeline.encoders.distill_entry import DistillFit
from recsys.pipeline.encoders.encoder_variants import EncoderVariant
from recsys.pipeline.encoders.lessons import SourceEncoder, shop_texts, write_lessons
from recsys.pipeline.encoders.write_smaller_encoder import write_smaller_encoder
from recsys.pipeline.run import Run
from recsys.pipeline.training.run_training import run_training
from recsys.pipeline.workers.cluster import cpus_for_each
from recsys.pipeline.workers.worker_pools import call_in_worker
from recsys.training.compress_config import CompressConfig

logger = logging.getLogger(__name__)

#: Where work lies until it is done, below the storage.
WORK = "compress"
#: Fewer texts can neither teach nor measure an encoder.
LEAST_TEXTS = 30
#: Settings of a variant that learns.
_OF_LEARNING = {"steps", "batch_size", "learning_rate", "checks", "max_texts"}

_TEACHER = ModelKeys(model="compress.teacher", revision="compress.teacher_revision")


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeEncoder:
    """A variant in the storage."""

    model: str
    """The `encoder.model` that names it."""
    note: CompressedNote
    made_now: bool
    """Whether it was made now, and not by an earlier start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderMaker:
    """Makes variants of one encoder. What an earlier start has made is not made again."""

    run: Run
    """The published night; its `compress` settings count."""
    source: SourceEncoder
    texts_digest: str
    teacher: str
    """Digest of the encoder whose vectors are learned."""

    @classmethod
    def of(cls, run: Run, source: SourceEncoder) -> "EncoderMaker":
        """Look at the texts of the night.

        Raises:
            ConfigError: the teacher cannot be found.
            InputError: the night has too few texts.
        """
        texts, compress, spec = shop_texts(run), run.config.compress, run.config.encoder
        if len(texts) < LEAST_TEXTS:
            raise InputError(f"compress: {run.folder.run_id} has {len(texts)} different texts, needed: {LEAST_TEXTS}")
        teacher = source.encoder_id
        if compress.teacher is not None:
            teacher = teacher_digest(compress, spec.max_tokens)
        digest = _digest([texts, run.config.seed, spec.max_tokens])
        return cls(run=run, source=source, texts_digest=digest, teacher=teacher)

    def make(self, variant: EncoderVariant) -> MadeEncoder:
        """Make a variant, unless the storage has it.

        Raises:
            ConfigError: the encoder cannot be made smaller in this way.
        """
        name = f"{variant.weights}-{self._recipe(variant)}"
        model, storage = f"{COMPRESSED}{name}", self.run.storage
        if (note := read_note(storage, model)) is not None:
            logger.info("compress: %s is there", model)
            self._clean_up(name)
            return MadeEncoder(model=model, note=note, made_now=False)
        place = compressed_folder(model)
        storage.delete_folder(place)  # a start that was killed may have left half of it
        if variant.layers is None:
            facts = self._start(variant, place, None)
            note = self._note(facts)
        else:
            note = self._teach(variant, name, place)
        write_note(storage, model, note)
        self._clean_up(name)
        logger.info("compress: %s is made", model)
        return MadeEncoder(model=model, note=note, made_now=True)

    def tidy(self) -> None:
        """Delete what the variants learned from, once all of them are made."""
        self.run.storage.delete_folder(self._lessons)

    @property
    def _lessons(self) -> str:
        return f"{WORK}/lessons-{_digest([self.texts_digest, self.teacher, self.run.config.compress.max_texts])[:10]}"

    def _recipe(self, variant: EncoderVariant) -> str:
        """Digest of all that a variant is made from."""
        compress = self.run.config.compress
        facts: list[object] = [self.texts_digest, self.source.encoder_id, variant.layers]
        facts.append(compress.spare_tokens if variant.vocabulary else None)
        if variant.layers is not None:
            facts += [self.teacher, compress.model_dump(include=_OF_LEARNING), self.run.config.train.num_workers]
        return _digest(facts)[:10]

    def _start(self, variant: EncoderVariant, place: str, lessons: str | None) -> dict[str, Any]:
        arguments = (self.run, self.source, variant, place, lessons)
        facts: dict[str, Any] = call_in_worker(write_smaller_encoder, *arguments, label=variant.weights, num_cpus=1)
        return facts

    def _teach(self, variant: EncoderVariant, name: str, place: str) -> CompressedNote:
        """Choose the layers, let the variant learn, and keep its best state."""
        run, work, config = self.run, f"{WORK}/{name}", self.run.config.train
        write_lessons(run, self._lessons, self.source)
        known = f"{work}/start.json"
        if not run.storage.exists(known):
            run.storage.delete_folder(work)
            run.storage.write_json(known, self._start(variant, f"{work}/start", self._lessons))
        facts: dict[str, Any] = run.storage.read_json(known)
        logger.info("compress: %s keeps the layers %s of the encoder, from 0, and learns", name, facts["layers"])
        threads = config.cpus_of_worker(cpus_for_each(config.num_workers))
        fit = DistillFit(run=run, name=name, start_path=f"{work}/start", lessons_path=self._lessons, threads=threads)
        done = run_training(fit)
        with done.best.folder as folder:
            encoder = Path(folder) / ENCODER_FOLDER
            store_as(encoder, getattr(torch, facts["dtype"]))
            run.storage.upload_folder(encoder, place)
        return self._note(facts, teacher=self.teacher, agreement=float(done.best.metrics["score"]))

    def _clean_up(self, name: str) -> None:
        """Delete what the work on a finished variant has left; a start that was killed may not have come to it."""
        fit = DistillFit(run=self.run, name=name, start_path="", lessons_path="", threads=1)
        for path in (f"{WORK}/{name}", fit.checkpoints_path):
            self.run.storage.delete_folder(path)
        self.run.storage.delete(fit.progress_path)

    def _note(self, facts: dict[str, Any], teacher: str = "", agreement: float | None = None) -> CompressedNote:
        spec = self.run.config.encoder
        return CompressedNote(
            source=self.source.encoder_id,
            model=spec.model,
            revision=spec.revision,
            teacher=teacher,
            layers=facts["layers"],
            tokens=facts["tokens"],
            agreement=agreement,
        )


def teacher_digest(compress: CompressConfig, max_tokens: int) -> str:
    """Digest of the larger encoder that `compress.teacher` names.

    Raises:
        ConfigError: it cannot be found, or is no text encoder.
    """
    assert compress.teacher is not None
    folder = model_folder(compress.teacher, compress.teacher_revision, _TEACHER)
    try:
        return encoder_digest(str(folder), max_tokens=max_tokens)
    except ConfigError as error:
        raise ConfigError(f"compress.teacher={compress.teacher}: cannot be read as a text encoder: {error}") from error


def _digest(facts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
