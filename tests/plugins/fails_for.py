"""A re-ranking rule with a defect: the lists of some users end the process, and those of others raise an error."""

import os
from functools import partial

from pydantic import Field

from recsys.config.section import Section
from recsys.ranking.rules.registry import RULES
from recsys.ranking.rules.rule import ListRule, NightFacts, RankedBatch, Reorder


class FailsForSettings(Section):
    """The section `rerank.rules.fails_for`."""

    dies: list[str] = Field(default_factory=list)
    """Users whose lists end the process."""
    raises: list[str] = Field(default_factory=list)
    """Users whose lists raise an error."""


class FailsFor(ListRule[FailsForSettings]):
    """Changes nothing, and fails for some users."""

    name = "fails_for"
    summary = "Fails for some users."
    settings = FailsForSettings

    def prepare(self, settings: FailsForSettings, facts: NightFacts) -> Reorder:  # noqa: ARG002 (of the base class)
        """Nothing to prepare."""
        return partial(_fail, dies=set(settings.dies), raises=set(settings.raises))


def _fail(batch: RankedBatch, dies: set[str], raises: set[str]) -> tuple[RankedBatch, int]:
    users = set(batch.user_ids.to_pylist())
    if users & dies:
        os._exit(1)
    if bad := sorted(users & raises):
        raise ValueError(f"no price for {bad[0]}")
    return batch, 0


RULES.register(FailsFor())
