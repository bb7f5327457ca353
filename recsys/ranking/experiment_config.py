"""The settings of experiments: several variants of the lists at the same time, each for a share of the users."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Annotated, Any

from pydantic import Field, model_validator

from recsys.config.messages import validated
from recsys.config.section import Positive, Section
from recsys.data.assignment import NAME, SHARE_ROUNDING, variant_of
from recsys.ranking.config import RecommendConfig, RerankConfig
from recsys.ranking.rules.registry import check_rules, item_rules

#: More variants than this are refused: the scoring workers prepare the rules of each.
MAX_VARIANTS = 64
#: Settings of `rerank` that say for all users which items may be recommended.
FOR_ALL_USERS = ("block", "block_file", "allow_file", "where", "expiry")

Name = Annotated[str, Field(pattern=NAME)]


class ArmLists(Section):
    """What an arm changes of `recommend`."""

    candidates: Positive | None = None
    """Items retrieved for a user before ranking; null: as in `recommend`."""


class Arm(Section):
    """One variant of an experiment."""

    name: Name
    """It is written to the column `variant`, after the experiment's name: `diversity/high`."""
    share: Annotated[float, Field(gt=0.0, le=1.0)]
    """Share of all users."""
    model: Name | None = None
    """Id of a stored model that ranks for these users, with the same text encoder; null: the model of the night."""
    recommend: ArmLists = ArmLists()
    """Settings in place of those of `recommend`."""
    rerank: dict[str, Any] = Field(default_factory=dict)
    """Settings in place of those of `rerank`, e.g. `{diversity: 0.3}`."""

    def changes(self) -> dict[str, Any]:
        """What the arm changes, by the key of the config."""
        found = {f"rerank.{name}": value for name, value in self.rerank.items()}
        if self.recommend.candidates is not None:
            found["recommend.candidates"] = self.recommend.candidates
        if self.model is not None:
            found["model"] = self.model
        return found


class Experiment(Section):
    """An experiment. Its first arm is the control, with which the others are compared."""

    name: Name
    """Name in the column `variant` and in reports."""
    salt: str | None = None
    """Another salt gives another split of the users; null: the name. Do not change it while the experiment runs."""
    arms: Annotated[list[Arm], Field(min_length=2)]
    """The variants. Users outside of all shares are not in the experiment."""

    @property
    def split_by(self) -> str:
        """The salt of the split."""
        return self.name if self.salt is None else self.salt

    @property
    def shares(self) -> list[float]:
        """The share of each arm."""
        return [arm.share for arm in self.arms]

    @model_validator(mode="after")
    def _arms_fit(self) -> "Experiment":
        names = [arm.name for arm in self.arms]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"arms: the name {twice[0]} is there twice")
        if (total := sum(self.shares)) > 1 + SHARE_ROUNDING:
            raise ValueError(f"arms: the shares must add up to at most 1, got {total:g}")
        return self


class VariantSettings(Section):
    """The settings of the lists of one variant."""

    recommend: RecommendConfig
    rerank: RerankConfig
    model: str | None
    """None: the model of the night."""


def models_of_arms(experiments: Sequence[Experiment]) -> dict[str, str]:
    """The model of each arm that names one, by its path in the config."""
    return {f"{path}.model": arm.model for path, arm in _arms(experiments) if arm.model is not None}


def rules_of_arms(experiments: Sequence[Experiment], rerank: RerankConfig) -> dict[str, RerankConfig]:
    """The rules of each arm that changes some, by its path in the config; `rerank` for all that it does not change.

    Raises:
        ValueError: a changed setting is wrong.
    """
    return {
        path: RerankConfig.model_validate(rerank.model_dump() | arm.rerank)
        for path, arm in _arms(experiments)
        if arm.rerank
    }


def _arms(experiments: Sequence[Experiment]) -> Iterator[tuple[str, Arm]]:
    """Each arm with its path in the config."""
    for place, experiment in enumerate(experiments):
        for number, arm in enumerate(experiment.arms):
            yield f"experiments.{place}.arms.{number}", arm


def variants_of(
    experiments: Sequence[Experiment], recommend: RecommendConfig, rerank: RerankConfig
) -> dict[str, VariantSettings]:
    """The settings of each variant, by its name. The first is the default, which no experiment changes.

    Raises:
        ValueError: a changed setting is wrong, may not be changed, or is changed by two experiments.
    """
    choices = [[None, *experiment.arms] for experiment in experiments]
    found = {}
    for arms in product(*choices):
        pairs = [(one, arm) for one, arm in zip(experiments, arms, strict=True) if arm is not None]
        changed = {key: value for _, arm in pairs for key, value in arm.changes().items()}
        candidates = {"candidates": changed["recommend.candidates"]} if "recommend.candidates" in changed else {}
        others = {key.removeprefix("rerank."): value for key, value in changed.items() if key.startswith("rerank.")}
        found[variant_of((one.name, arm.name) for one, arm in pairs)] = VariantSettings(
            recommend=recommend.model_copy(update=candidates),
            rerank=RerankConfig.model_validate(rerank.model_dump() | others) if others else rerank,
            model=changed.get("model"),
        )
    return found


def check_experiments(experiments: Sequence[Experiment], recommend: RecommendConfig, rerank: RerankConfig) -> None:
    """Check what experiments change, before a night starts.

    Raises:
        ValueError: two experiments have one name or change one setting, there are too many variants, or a changed
            setting is unknown, wrong, or one that holds for all users.
    """
    changed_by: dict[str, str] = {}
    num_variants = 1
    for place, experiment in enumerate(experiments):
        if any(other.name == experiment.name for other in experiments[:place]):
            raise ValueError(f"experiments: the name {experiment.name} is there twice")
        for key in {key: None for arm in experiment.arms for key in arm.changes()}:
            if (other := changed_by.setdefault(key, experiment.name)) != experiment.name:
                raise ValueError(f"experiments: {other} and {experiment.name} both change {key}")
        num_variants *= len(experiment.arms) + 1
    for path, arm in _arms(experiments):
        _check_arm(arm, path, recommend, rerank)
    if num_variants > MAX_VARIANTS:
        raise ValueError(f"experiments: {num_variants} variants, at most {MAX_VARIANTS} are possible")


def _check_arm(arm: Arm, path: str, recommend: RecommendConfig, rerank: RerankConfig) -> None:
    wanted = arm.recommend.candidates
    if wanted is not None and wanted < recommend.top_k:
        raise ValueError(f"{path}.recommend.candidates={wanted} must be at least top_k={recommend.top_k}")
    own = [f"rules.{rule.name}" for rule in item_rules() if rule.settings is not RerankConfig]
    named = [*arm.rerank, *(f"rules.{name}" for name in arm.rerank.get("rules") or ())]
    if wrong := [name for name in named if name in (*FOR_ALL_USERS, *own)]:
        raise ValueError(f"{path}.rerank.{wrong[0]}: holds for all users, so no arm can change it")
    changed = validated(RerankConfig, rerank.model_dump() | arm.rerank, f"{path}.rerank")
    try:
        check_rules(changed, recommend.top_k)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
