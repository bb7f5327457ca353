"""The settings of a job: every section, and what only holds between them."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator
from ruamel.yaml import YAML

from recsys.config.live_service import ServeConfig
from recsys.config.loading import decode_settings, load_settings, without_variables
from recsys.config.section import NightDate, Section
from recsys.data.config import HistoriesConfig, InputsConfig
from recsys.enrichment.backends.registry import check_backend
from recsys.enrichment.config import EnrichConfig
from recsys.evaluation.config import GateConfig, RealizedConfig
from recsys.model.config import EncoderConfig, RankerConfig
from recsys.plugins import load_plugins
from recsys.ranking.config import RecommendConfig, RerankConfig, SimilarItemsConfig
from recsys.ranking.experiment_config import Experiment, check_experiments
from recsys.ranking.rules.registry import check_rules
from recsys.report.trackers.config import TrackingConfig
from recsys.signals.ease import EaseConfig
from recsys.signals.lm import LmConfig
from recsys.signals.registry import chosen_columns
from recsys.signals.transitions import TransitionsConfig
from recsys.storage.config import RetentionConfig
from recsys.training.compress_config import CompressConfig
from recsys.training.config import TrainConfig
from recsys.training.tuning import TuneConfig

#: Settings that change where or how fast a night runs, never its lists: they are left out of the digest. Threads and
#: devices are not among them, since they round sums differently.
EXECUTION_ONLY: dict[str, Any] = {
    "storage": True,
    "check_free_space": True,
    "encoder": {"num_workers": True},
    "train": {"max_failures": True},
    "recommend": {"num_workers": True, "max_failed_users": True},
    "gate": {
        "min_users_ratio": True,
        "max_short_lists_rise": True,
        "min_coverage_ratio": True,
        "max_equal_score_lists": True,
        "max_non_finite_scores": True,
        "max_invalid_lists": True,
    },
    "realized": True,
    "serve": True,
    "tune": True,
    "compress": True,
    "tracking": True,
    "retention": True,
}


class Config(Section):
    """The whole config of a job."""

    storage: Annotated[str, Field(min_length=1)] = "./warehouse"
    """Root of everything written: a folder or `s3://bucket/prefix`."""
    check_free_space: bool = True
    """Refuse a night that the free space of a local storage cannot hold, by the sizes of the last nights."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of every random choice."""
    date: NightDate | None = None
    """Data date of the night, or `today`, `yesterday`, or `newest` (the day of the newest event); null: today. Days are
    of UTC."""
    plugins: list[str] = Field(default_factory=list)
    """Modules of your own that register signals, rules, metrics or input formats, e.g. `[my_shop.signals]`."""
    inputs: InputsConfig
    """What is read."""
    histories: HistoriesConfig = HistoriesConfig()
    """How users' events are laid out."""
    enrich: EnrichConfig | None = None
    """Texts about items and users that a language model writes; null: none."""
    encoder: EncoderConfig = EncoderConfig()
    """Text to vectors."""
    ranker: RankerConfig = RankerConfig()
    """Vectors to scores."""
    train: TrainConfig = TrainConfig()
    """Fine-tuning."""
    transitions: TransitionsConfig = TransitionsConfig()
    """What users take soon after what."""
    ease: EaseConfig = EaseConfig()
    """The linear item-to-item model."""
    lm: LmConfig | None = None
    """A language model that judges the best candidates by their titles; null: there is none."""
    recommend: RecommendConfig = RecommendConfig()
    """The lists."""
    rerank: RerankConfig = RerankConfig()
    """Re-ranking rules: which items may be recommended, and what else than the score decides the order."""
    similar_items: SimilarItemsConfig = SimilarItemsConfig()
    """Which items go with an item."""
    experiments: list[Experiment] = Field(default_factory=list)
    """Experiments: other settings of the ranking, or another model, for a share of the users."""
    gate: GateConfig = GateConfig()
    """What a model and its lists must pass before they are published."""
    realized: RealizedConfig = RealizedConfig()
    """How lists of past nights are judged by later events."""
    serve: ServeConfig = ServeConfig()
    """The live service."""
    tune: TuneConfig = TuneConfig()
    """What `jobs/tune.py` tries."""
    compress: CompressConfig = CompressConfig()
    """How `jobs/compress.py` makes smaller text encoders."""
    tracking: TrackingConfig = TrackingConfig()
    """Trackers of experiments that get each night."""
    retention: RetentionConfig = RetentionConfig()
    """How long nights stay in the storage."""

    @model_validator(mode="after")
    def _batch_divides(self) -> "Config":
        parts = self.train.num_workers * self.train.accumulation_steps
        if self.train.batch_size % parts:
            raise ValueError(
                f"train.batch_size={self.train.batch_size} must be a multiple of train.num_workers × "
                f"train.accumulation_steps = {parts}"
            )
        return self

    @model_validator(mode="after")
    def _encoder_is_read(self) -> "Config":
        if self.encoder.learns and self.ranker.parts == "ids":
            raise ValueError(
                f"encoder.train={self.encoder.train} has nothing to learn from where ranker.parts=ids reads no text: "
                f"take parts both or text, or a frozen encoder"
            )
        return self

    @model_validator(mode="after")
    def _encoder_may_be_trained(self) -> "Config":
        if self.encoder.learns and self.train.budget == "never":
            raise ValueError(
                f"train.budget=never trains nothing, and encoder.train={self.encoder.train} trains the encoder: set it "
                f"to frozen, or budget to auto"
            )
        return self

    @model_validator(mode="after")
    def _newest_has_events(self) -> "Config":
        if self.date == "newest" and self.inputs.events is None:
            raise ValueError("date=newest is the day of the newest event, and there is no inputs.events: give a date")
        return self

    @field_validator("plugins", mode="after")
    @classmethod
    def _load_plugins(cls, modules: list[str]) -> list[str]:
        """Import them before the fields below are checked, which may name what the plugins register."""
        load_plugins(modules)
        return modules

    @model_validator(mode="after")
    def _names_are_registered(self) -> "Config":
        check_rules(self.rerank, self.recommend.top_k)
        check_experiments(self.experiments, self.recommend, self.rerank)
        chosen = chosen_columns(self.recommend.signals)
        if self.lm is None and "lm" in (chosen or ()):
            raise ValueError("recommend.signals names lm, which needs the section lm with a model")
        if self.enrich is not None:
            check_backend(self.enrich)
        return self

    @property
    def has_user_texts(self) -> bool:
        """Whether histories contain texts: of the inputs, or profiles that are written."""
        return self.inputs.has_user_texts or self.writes_profiles

    @property
    def has_profiles(self) -> bool:
        """Whether a history may begin with a text about its user."""
        return self.inputs.users is not None or self.writes_profiles

    @property
    def writes_item_texts(self) -> bool:
        """Whether texts about items are written."""
        return self.enrich is not None and self.enrich.items is not None

    @property
    def writes_profiles(self) -> bool:
        """Whether profiles of users are written."""
        return self.enrich is not None and self.enrich.users is not None

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Arrive in another process: what the plugins register must be known there too."""
        super().__setstate__(state)
        load_plugins(self.plugins)

    def digest(self) -> str:
        """Hex digest of every setting that can change a list of a given date; see `EXECUTION_ONLY`."""
        settings = self.model_dump(mode="json", exclude={"date": True, **EXECUTION_ONLY})
        kept = self.encoder.for_digest()
        settings["encoder"] = {key: value for key, value in settings["encoder"].items() if key in kept}
        for name in ("enrich", "lm"):
            if settings[name] is None:  # as before there was this section
                del settings[name]
        return _digest_of(settings)

    def encoder_recipe(self) -> str:
        """Hex digest of what a text encoder from scratch is made by, besides the catalog of its first night."""
        recipe = self.encoder.model_dump(mode="json", include={"scratch": True, "max_tokens": True})
        return _digest_of(recipe | {"precision": self.encoder.arithmetic, "seed": self.seed})

    def adapted_recipe(self, base_id: str) -> str:
        """Hex digest of what an encoder is adapted by, besides the catalog; `base_id`: digest of the one it was."""
        recipe = self.encoder.model_dump(mode="json", include={"adapt": True, "max_tokens": True})
        return _digest_of(recipe | {"base": base_id, "seed": self.seed})

    def to_yaml(self) -> str:
        """The resolved config, every default written out."""
        stream = io.StringIO()
        YAML(typ="safe", pure=True).dump(without_variables(self.model_dump(mode="json")), stream)
        return stream.getvalue()


def _digest_of(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def load_config(path: str | Path, overrides: Sequence[str] = (), date: str | None = None) -> Config:
    """Read a YAML file, see `recsys.config.loading.load_settings`."""
    return load_settings(Config, path, overrides, date)


def decode_config(raw: Mapping[str, Any]) -> Config:
    """Validate a mapping, see `recsys.config.loading.decode_settings`."""
    return decode_settings(Config, raw)
