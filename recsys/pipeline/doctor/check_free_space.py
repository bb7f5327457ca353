"""Whether a night fits into the free space of a local storage, by the sizes of the last nights."""

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recsys.errors import ConfigError, RecsysError
from recsys.pipeline.doctor.estimate_stages import estimate_stage, last_nights
from recsys.pipeline.inputs.input_sizes import input_sizes
from recsys.pipeline.run import Run
from recsys.pipeline.stage import Stage

logger = logging.getLogger(__name__)

#: A night needs so many times the bytes that it leaves: the intermediate files are deleted only after the lists are
#: published. Nights of 40 and of 3,000 users needed 1.4 to 1.5 times as many; checkpoints of DeepSpeed need more.
WORKING_SPACE = 2.0


def check_free_space(run: Run, stages: Iterable[Stage[Any]]) -> None:
    """Refuse a night that does not fit into the storage, before it writes anything.

    A storage without a published night, or with much smaller ones alone, has no sizes to go by. Then a warning says if
    the inputs would not fit either.

    Args:
        run: The night; finished stages of it need no space any more.
        stages: Its stages.

    Raises:
        ConfigError: the free space is less than the night needs.
    """
    if not run.storage.is_local or not run.config.check_free_space:
        return
    free = free_bytes(run.storage.root)
    left = [stage for stage in stages if stage.applies(run.config) and run.folder.done(stage.name) is None]
    try:
        sizes = input_sizes(run.config)
    except RecsysError:
        return  # the night reads its inputs next, and says what is wrong with them
    events, items = sizes["events"].rows if "events" in sizes else 0, sizes["items"].rows
    num_bytes = sum(size.bytes for size in sizes.values())
    nights = [night for night in last_nights(run, left) if night.says_of(events, items)]
    if not nights:
        if free < num_bytes:
            logger.warning(
                "%s: %s are free, less than the %s of the inputs; the night may not fit",
                *(run.storage.root, _size(free), _size(num_bytes)),
            )
        return
    costs = (estimate_stage(stage.name, nights, events, items) for stage in left)
    needed = round(WORKING_SPACE * sum(cost.stored_bytes for cost in costs if cost is not None))
    if free < needed:
        raise ConfigError(
            f"storage {run.storage.root}: the night needs about {_size(needed)} ({needed:,} bytes), by the sizes of "
            f"{nights[0].name} and the nights before, and {_size(free)} ({free:,} bytes) are free; make room, name "
            "another storage, or set check_free_space to false"
        )


def free_bytes(root: str) -> int:
    """Free space of the disk of a local storage, which need not be there yet."""
    there = next(path for path in (Path(root), *Path(root).parents) if path.exists())
    return shutil.disk_usage(there).free


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:,.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:,.1f} MiB"
