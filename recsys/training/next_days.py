"""Targets of the next days: a position learns any item that the user takes soon, and not only the next one.

After the dense all-action objective of PinnerFormer (Pancha et al., KDD 2022): each pass over the windows draws another
of the items. So the ranker learns what a user will want, and less in which order.

Shapes: N events, B windows, L history length.
"""

import datetime as dt
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from recsys.training.window_batch import WindowBatch, num_targets

IntArray = npt.NDArray[np.int64]


def events_ahead(user: IntArray, timestamps: pa.ChunkedArray, days: int) -> IntArray:
    """[N] number of later events of the same user that follow within so many days.

    Args:
        user: [N] number of each event's user, ascending.
        timestamps: [N] ascending for each user.
        days: Whole days of 24 hours; an event at the end of the last one counts.
    """
    seconds = pc.cast(timestamps, pa.int64()).to_numpy() // 1_000_000
    if not len(seconds):
        return np.zeros(0, dtype=np.int64)
    within = int(dt.timedelta(days=days).total_seconds())
    seconds = seconds - seconds.min()
    of_user = user * (int(seconds.max()) + within + 1)  # so far apart that no sum reaches the next user
    ends = np.searchsorted(of_user + seconds, of_user + seconds + within, side="right")
    ahead: IntArray = ends - 1 - np.arange(len(seconds))
    return ahead


def draw_targets(batch: WindowBatch, generator: torch.Generator) -> WindowBatch:
    """Each position gets the target of a position that is drawn evenly from itself and those `WindowBatch.ahead`.

    The drawn target brings its weight. Only targets in the same window are drawn.

    Args:
        batch: Windows with ``ahead``.
        generator: On the CPU.
    """
    assert batch.ahead is not None, "windows that do not say what lies ahead"
    shape, device = batch.targets.shape, batch.targets.device
    places = torch.arange(shape[1], device=device)
    choices = batch.ahead.minimum(num_targets(batch.targets) - places).clamp(min=1)
    drawn = places + (torch.rand(shape, generator=generator, dtype=torch.float64).to(device) * choices).long()
    targets = batch.targets.gather(1, drawn)
    there = targets >= 0  # a search within the days has no item
    return replace(
        batch,
        ahead=None,
        targets=torch.where(there, targets, batch.targets),
        weights=torch.where(there, batch.weights.gather(1, drawn), batch.weights),
    )
