"""Loading a night's signals, its fusion and its re-ranking: what scores users, in the night and live."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from recsys.model.checkpoint import ModelCard, load_ranker
from recsys.model.precision import dtype_of
from recsys.pipeline.inputs.item_rules import recommendable
from recsys.pipeline.run import COUNTS_OF_VIEW, Run
from recsys.pipeline.scoring.count_signals import day_of, first_validation_day, oldest_day, read_counts, settings_of
from recsys.pipeline.scoring.match_cold_items import read_cold_items, read_donors
from recsys.pipeline.scoring.read_titles import catalog_titles, load_title_scorer, read_priors
from recsys.pipeline.stored.published_model import model_card
from recsys.pipeline.stored.stored_fusion import read_fusion
from recsys.pipeline.stored.stored_item_counts import read_item_counts
from recsys.pipeline.stored.stored_vectors import read_text_vectors, read_user_text_vectors
from recsys.ranking.config import RecommendConfig, RerankConfig
from recsys.ranking.fusion import Fusion
from recsys.ranking.rerank import Reranker
from recsys.ranking.rules.attributes import attribute_values, needed_attribute
from recsys.ranking.rules.rule import NightFacts
from recsys.ranking.snapshot import Snapshot
from recsys.signals.lm_evidence import LoadedLm
from recsys.signals.products import unit_rows
from recsys.signals.ranker_evidence import LoadedRanker
from recsys.signals.registry import signals_of
from recsys.signals.signal import DataView, LoadedSignal, Signal
from recsys.signals.text_ease import TextEase
from recsys.signals.text_evidence import LoadedText
from recsys.storage.tables import read_table

#: Most days whose popularity is held at once: of 100,000 items each day takes 1.6 MB.
MOST_DAYS = 256

Ints = npt.NDArray[np.int64]


def load_snapshot(
    run: Run, model_id: str, config: RecommendConfig, view: DataView, fusion: Fusion | None = None
) -> Snapshot:
    """A model of the warehouse over the catalog of a run.

    Args:
        run: Whose catalog and counts are taken.
        model_id: Its weights and, unless it is given, its fusion.
        config: Device and threads.
        view: The days that may be seen.
        fusion: Weights of the signals; None: those that were fitted for the model.
    """
    return load_snapshots(run, model_id, config, view, [run.config.rerank], fusion)[0]


def load_snapshots(
    run: Run,
    model_id: str,
    config: RecommendConfig,
    view: DataView,
    reranks: Sequence[RerankConfig],
    fusion: Fusion | None = None,
) -> list[Snapshot]:
    """One snapshot for each of `reranks`; they share all but the re-ranking. Other arguments as in `load_snapshot`."""
    if not config.use_gpu:
        # one thread for each block of users, `cpus_per_worker` at a time, so that scores do not depend on the threads
        torch.set_num_threads(1)
    night = Night(run, model_id, config, view)
    donors = read_donors(run, view)
    signals = {signal.name: signal.load(SignalSource(night, signal)) for signal in signals_of(run.config)}
    if donors.is_cold.any():
        signals = {name: loaded.impute(donors) for name, loaded in signals.items()}
    if view != "full":
        reranks = [rerank.for_measuring() for rerank in reranks]
    popularity = read_item_counts(run, COUNTS_OF_VIEW[view][1], night.item_ids)
    facts = NightFacts(
        popularity=popularity,
        is_cold=read_cold_items(run, view, popularity),
        recommendable=night.recommendable,
        seed=run.config.seed,
        date=run.date,
        vectors=_directions(signals),
        catalog=night.catalog,
    )
    rerankers = [Reranker.build(rerank, facts) for rerank in reranks]
    first = Snapshot(
        signals=signals,
        item_ids=night.item_ids,
        titles=_titles(night.catalog),
        recommendable=night.recommendable,
        is_cold=donors.is_cold,
        event_kinds=pa.array(night.card.event_kinds, pa.string()),
        max_length=night.card.max_length,
        reads_texts=night.card.spec.user_texts,
        fusion=fusion or read_fusion(run, model_id),
        reranker=rerankers[0],
        now=(run.end if view == "full" else run.cutoff).timestamp() * 1e6,
        texts=read_user_text_vectors(run, night.card.encoder_id),
    )
    return [replace(first, reranker=reranker) for reranker in rerankers]


class Night:
    """What the signals of one night share; each part is read when it is first asked for."""

    def __init__(self, run: Run, model_id: str, config: RecommendConfig, view: DataView) -> None:
        """Arguments as in `load_snapshot`."""
        self.run, self.model_id, self.config, self.view = run, model_id, config, view

    @cached_property
    def card(self) -> ModelCard:
        """The card of the model."""
        return model_card(self.run, self.model_id)

    @cached_property
    def _texts(self) -> tuple[pa.Array, npt.NDArray[np.float32]]:
        return read_text_vectors(self.run, self.card.encoder_id)

    @cached_property
    def item_ids(self) -> pa.Array:
        """[I] sorted."""
        return self._texts[0]

    @cached_property
    def text_vectors(self) -> npt.NDArray[np.float32]:
        """[I, T] of length 1 (or 0)."""
        return unit_rows(self._texts[1])

    @cached_property
    def catalog(self) -> pa.Table:
        """Ids, availability and attributes."""
        return read_table(self.run.storage, self.run.catalog_path, ["item_id", "available", "attributes"])

    @cached_property
    def recommendable(self) -> npt.NDArray[np.bool_]:
        """[I] items that the rules leave."""
        return recommendable(self.run, self.catalog).mask

    def ranker(self) -> LoadedRanker:
        """The model over the catalog, on its device."""
        device = torch.device("cuda" if self.config.use_gpu else "cpu")
        with self.run.storage.local_folder(self.run.model_path(self.model_id), recursive=False) as folder:
            ranker, card = load_ranker(folder, self.item_ids, torch.from_numpy(self._texts[1].copy()))
        ranker = ranker.to(device)
        if self.config.use_gpu:
            ranker.decode_in(dtype_of(self.config.precision, device))
        return LoadedRanker(ranker, self.recommendable, card.candidate_pass)

    def language_model(self) -> LoadedLm:
        """The language model of the section `lm`, with the titles of the catalog."""
        settings, titles = self.run.config.lm, catalog_titles(self.run)
        assert settings is not None, "the signal is on only where the config has the section"
        scorer = load_title_scorer(settings, self.config)
        tokens, priors = scorer.title_tokens(titles.to_pylist()), read_priors(self.run, titles)
        return LoadedLm(scorer, tokens, priors, self.recommendable, settings)


class SignalSource:
    """What one signal is loaded from, see `recsys.signals.signal.NightSource`."""

    def __init__(self, night: Night, signal: Signal) -> None:
        """``signal`` decides which section of the config and which counts are read."""
        self._night, self._signal = night, signal
        self.view = night.view

    @property
    def item_ids(self) -> pa.Array:
        """See `recsys.signals.signal.NightSource`."""
        return self._night.item_ids

    @property
    def settings(self) -> Any:
        """See `recsys.signals.signal.NightSource`."""
        return settings_of(self._night.run, self._signal)

    @property
    def days(self) -> Ints:
        """See `recsys.signals.signal.NightSource`."""
        run = self._night.run
        if self.view == "full":
            return np.array([day_of(run.end)])
        last = day_of(run.cutoff)
        first = first_validation_day(run) if self.view == "validation" else last
        # all days, or days that are evenly apart where few users are spread over years
        return np.arange(first, last + 1, -(-(last + 1 - first) // MOST_DAYS))

    @property
    def oldest_day(self) -> int:
        """See `recsys.signals.signal.NightSource`."""
        return oldest_day(self._night.run)

    @property
    def text_vectors(self) -> npt.NDArray[np.float32]:
        """See `recsys.signals.signal.NightSource`."""
        return self._night.text_vectors

    @property
    def recommendable(self) -> npt.NDArray[np.bool_]:
        """See `recsys.signals.signal.NightSource`."""
        return self._night.recommendable

    def attribute(self, name: str) -> pa.Array:
        """See `recsys.signals.signal.NightSource`."""
        return needed_attribute(self._night.catalog, name).combine_chunks()

    def counted(self) -> pa.Table:
        """See `recsys.signals.signal.NightSource`."""
        return read_counts(self._night.run, self._signal, self.view)

    def ranker(self) -> LoadedSignal:
        """See `recsys.signals.signal.NightSource`."""
        return self._night.ranker()

    def language_model(self) -> LoadedSignal:
        """See `recsys.signals.signal.NightSource`."""
        return self._night.language_model()

    def text(self) -> LoadedSignal:
        """See `recsys.signals.signal.NightSource`."""
        return LoadedText(TextEase.of(self.text_vectors), self.recommendable)


def _directions(signals: dict[str, LoadedSignal]) -> npt.NDArray[np.float32]:
    """[I, D] item vectors of the ranker, by which diversity compares items."""
    ranker = signals["ranker"]
    assert isinstance(ranker, LoadedRanker), "the ranker is a signal"
    return np.asarray(ranker.item_vectors.float().cpu().numpy())


def _titles(catalog: pa.Table) -> pa.Array:
    """[I] title of each item, its id where it has none."""
    return pc.coalesce(attribute_values(catalog, "title").combine_chunks(), catalog["item_id"].combine_chunks())
