"""What stays in the storage: the section `retention` of the config."""

from typing import Annotated

from pydantic import Field

from recsys.config.section import Positive, Section


class RetentionConfig(Section):
    """Which nights stay. A night stays if one of the rules below keeps it; without a rule all nights stay."""

    keep_nights: Positive | None = None
    """The newest so many published nights stay, by their dates; null: no such rule."""
    keep_days: Positive | None = None
    """Nights of the last so many days stay, counted from the newest published night, or from today (UTC) where that is
    earlier; null: no such rule."""
    grace_hours: Annotated[float, Field(ge=0)] = 24.0
    """Hours for which a night stays after `LATEST.json` moved away from it: somebody may still read it."""
    unfinished_days: Positive = 14
    """Days for which a run without published lists stays after its last start: it may go on."""

    @property
    def is_on(self) -> bool:
        """Whether any night may be deleted."""
        return self.keep_nights is not None or self.keep_days is not None
