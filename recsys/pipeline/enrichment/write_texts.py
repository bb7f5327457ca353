"""Have the missing texts of items or users written, within the budget of the night.

Each text is asked for once: stored texts of earlier nights are used as long as facts, prompts and model stay the same.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from recsys.enrichment.backends.backend import Backend, WriterNeeds
from recsys.enrichment.backends.registry import BACKENDS, backend_settings
from recsys.enrichment.budget import Budget
from recsys.enrichment.checks import apply_checks
from recsys.enrichment.config import EnrichConfig, ItemTextsConfig, UserTextsConfig
from recsys.enrichment.request import TextReply, TextRequest, prompt_hash
from recsys.enrichment.written_text import WrittenText, clean_reply, without_blocked
from recsys.errors import ConfigError
from recsys.model.encoder_files import model_files
from recsys.model.encoder_source import resolve_model
from recsys.model.file_hashes import hashes_of
from recsys.pipeline.encoders.encode_texts import configured_encoder
from recsys.pipeline.encoders.open_encoder import open_trainable
from recsys.pipeline.enrichment.text_store import read_texts, store_texts, texts_of_run
from recsys.pipeline.run import Run

#: The rest of a budget is used as long as it is worth this part of the texts of the first round: each starts workers.
SMALLEST_ROUND = 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TextWriter:
    """Who writes texts in a run: a back end with its settings, and what decides the texts. It is small."""

    spec: ItemTextsConfig | UserTextsConfig
    encoder_id: str
    """Digest of the text encoder, for back ends that write with it; else empty."""
    model_hashes: dict[str, str]
    """sha256 of the files of a model that is a folder of the driver's machine, by name; else empty."""

    @classmethod
    def of(cls, run: Run, spec: ItemTextsConfig | UserTextsConfig) -> "TextWriter":
        """Settle the encoder; a small one from scratch is trained here, if it is not there."""
        config = enrich_config(run)
        backend = BACKENDS[config.backend]
        model = backend.local_model(backend_settings(config))
        return cls(
            spec=spec,
            encoder_id=configured_encoder(run) if backend.needs_encoder else "",
            model_hashes={} if model is None else _hashes_of_model(model),
        )

    def id(self, config: EnrichConfig) -> str:
        """Hex digest of what decides the texts, besides the facts."""
        settings = backend_settings(config)
        facts = {
            "backend": config.backend,
            "identity": BACKENDS[config.backend].identity(settings, config.max_output_tokens),
            "encoder": self.encoder_id,
            "kind": type(self.spec).__name__,
            "prompts": [self.spec.system, self.spec.prompt],
            "limits": [config.max_summary_chars, config.max_keywords, config.max_keyword_chars],
            "checks": [config.check_language, *config.checks],
        }
        if self.model_hashes:
            facts["model_hashes"] = self.model_hashes
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def model(self, config: EnrichConfig) -> str:
        """Name of the model, for tables."""
        return BACKENDS[config.backend].model(backend_settings(config))

    @property
    def prompt_hash(self) -> str:
        """Digest of the prompt templates."""
        return prompt_hash(self.spec)


@dataclass(frozen=True, kw_only=True)
class WrittenTexts:
    """What a run has of the texts that it wanted."""

    writer_id: str
    texts: dict[str, WrittenText]
    """The usable ones by key."""
    counts: dict[str, Any]
    """Fields of `recsys.pipeline.model_records.WrittenTextCounts`."""


def enrich_config(run: Run) -> EnrichConfig:
    """The section `enrich`."""
    assert run.config.enrich is not None, "the stage applies only to configs with enrich"
    return run.config.enrich


def write_missing(run: Run, label: str, writer: TextWriter, requests: Sequence[TextRequest]) -> WrittenTexts:
    """Have the texts written that no night has written yet.

    Args:
        run: The run.
        label: Name of the stage, for lines of the log.
        writer: Who writes.
        requests: All that are wanted, the most important first.
    """
    config = enrich_config(run)
    writer_id, run_id = writer.id(config), run.folder.run_id
    wanted = list({request.key: request for request in requests if request.has_facts}.values())
    before = read_texts(run.storage, writer_id)
    tried = texts_of_run(run.storage, writer_id, run_id).errors  # they wait for the next night
    missing = [request for request in wanted if request.key not in before and request.key not in tried]
    for batch in _affordable(run, label, writer, missing):
        _runner(config)(run, label, writer, batch)
    stored = read_texts(run.storage, writer_id)
    known = {request.key: stored[request.key] for request in wanted if request.key in stored}
    usable = usable_texts(config, known)
    refused = Counter(text.refused for text in without_blocked(list(known.values()), config.blocked_words))
    del refused[""]
    tonight = texts_of_run(run.storage, writer_id, run_id)
    failed = Counter(tonight.errors.values())
    counts = {
        "written": len(tonight.written),
        "waiting": sum(request.key not in stored for request in wanted),
        "refused": dict(sorted(refused.items())),
        "failed": dict(sorted(failed.items())),
        "input_tokens": tonight.input_tokens,
        "output_tokens": tonight.output_tokens,
        "cost": round(Budget.of_night(config).cost_of(tonight.input_tokens, tonight.output_tokens), 6),
        "writer_id": writer_id,
        "model": writer.model(config),
        "prompt_hash": writer.prompt_hash,
    }
    if failed:
        logger.warning(
            "%s: texts were not written: %s", label, ", ".join(f"{num} × {why}" for why, num in failed.items())
        )
    return WrittenTexts(writer_id=writer_id, texts=usable, counts=counts)


def usable_texts(config: EnrichConfig, stored: dict[str, WrittenText]) -> dict[str, WrittenText]:
    """The stored texts that were not refused and hold no blocked word: the list may be newer than the texts."""
    passed = without_blocked(list(stored.values()), config.blocked_words)
    return {key: text for key, text in zip(stored, passed, strict=True) if not text.refused}


def _affordable(run: Run, label: str, writer: TextWriter, missing: list[TextRequest]) -> Iterator[list[TextRequest]]:
    """Requests that surely fit into what is left of the budget; again, as long as answers took less than they could."""
    config, least = enrich_config(run), 1
    night = Budget.of_night(config) if BACKENDS[config.backend].counts_tokens else Budget(tokens=None, cost=None)
    missing = _without_too_large(label, missing, night, config.max_output_tokens)
    writers = _writers_of_run(run, writer) if night.is_limited else []
    written = -1
    while missing:
        tonight = [texts_of_run(run.storage, writer_id, run.folder.run_id) for writer_id in writers]
        left, written_before = night, written
        for asked in tonight:
            left = left.less(asked.input_tokens, asked.output_tokens)
        written = sum(len(asked.written) for asked in tonight)
        num = left.affordable(missing, config.max_output_tokens)
        if num < least or written == written_before:  # nothing came of the last round: the endpoint is down
            return
        least = max(least, num // SMALLEST_ROUND)
        yield missing[:num]
        missing = missing[num:]


def _without_too_large(label: str, missing: list[TextRequest], night: Budget, most: int) -> list[TextRequest]:
    """The requests that the budget of a whole night can pay; the others would hold up those after them for ever."""
    payable = [request for request in missing if night.affordable([request], most)]
    if num := len(missing) - len(payable):
        logger.warning(
            "%s: the budget of the night (enrich.max_tokens, enrich.max_cost) is too small for each of %s texts, which "
            "may take up to %s tokens: raise it, or lower enrich.max_output_tokens",
            *(label, f"{num:,}", f"{max(request.most_input_tokens for request in missing) + most:,}"),
        )
    return payable


def _writers_of_run(run: Run, writer: TextWriter) -> list[str]:
    """The writers whose tokens count for the night: those of items and of users."""
    config = enrich_config(run)
    specs = (spec for spec in (config.items, config.users) if spec is not None)
    return [replace(writer, spec=spec).id(config) for spec in specs]


def _hashes_of_model(model: str) -> dict[str, str]:
    """None of a hub model, and none where the folder is not here or holds no model: its loader says so."""
    try:
        folder = Path(resolve_model(model))
        return hashes_of(folder, model_files(folder)) if folder.is_dir() else {}
    except (ConfigError, OSError):
        return {}


def _runner(config: EnrichConfig) -> Any:
    module, _, name = BACKENDS[config.backend].runner.partition(":")
    return getattr(import_module(module), name)


def open_writer(run: Run, writer: TextWriter) -> Any:
    """Load the back end, in a worker."""
    config = enrich_config(run)
    backend: Backend[Any] = BACKENDS[config.backend]

    def encoder() -> Any:
        with open_trainable(run.storage, run.config, writer.encoder_id, None) as loaded:
            return loaded

    needs = WriterNeeds(max_output_tokens=config.max_output_tokens, max_keywords=config.max_keywords, encoder=encoder)
    return backend.open(backend_settings(config), needs)


def finish_texts(
    run: Run, writer: TextWriter, requests: Sequence[TextRequest], replies: Sequence[TextReply]
) -> dict[str, Any]:
    """Clean, check and store what came of some requests."""
    config = enrich_config(run)
    assert len(replies) == len(requests), f"{len(replies)} replies for {len(requests)} requests"
    pairs = list(zip(requests, replies, strict=True))
    texts = [WrittenText() if reply.error else clean_reply(request, reply, config) for request, reply in pairs]
    good = [place for place, reply in enumerate(replies) if not reply.error]
    for place, text in zip(good, apply_checks([texts[place] for place in good], config.checks), strict=True):
        texts[place] = text
    store_texts(run.storage, writer.id(config), run.folder.run_id, requests, replies, texts)
    return {"rows": len(good)}
