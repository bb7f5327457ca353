"""The windows of one training worker, batch by batch: in memory if they are few, else streamed by Ray Data.

Ray Data needs about 0.2 s to start an iteration, which is longer than an epoch over a small shop's windows. Both ways
give the same batches in the same order.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch
from torch import Tensor

from recsys.pipeline.training.windows import SHUFFLE_WINDOWS
from recsys.training.examples import windows_schema
from recsys.training.window_batch import WindowBatch


class WorkerWindows(Protocol):
    """The windows of one kind that this worker reads."""

    def batches(self, size: int, seed: int | None) -> Iterator[WindowBatch]:
        """All windows in batches of this size, the last one may be smaller.

        Args:
            size: Windows of a batch.
            seed: Of a random order; None: the order in which they were cut.
        """


class WindowReader:
    """Makes `WindowBatch`es of tables, for one model on one device."""

    def __init__(self, num_items: int, length: int, device: torch.device, text_vectors: Tensor | None) -> None:
        """``length`` of a window; ``text_vectors`` [Q, T] on the device if windows hold texts."""
        self.num_items, self.device, self.text_vectors = num_items, device, text_vectors
        self.schema = windows_schema(length, text_vectors is not None)

    def batch(self, tables: Iterable[pa.Table]) -> WindowBatch:
        """All windows of these tables."""
        windows = pa.concat_tables(list(tables) or [self.schema.empty_table()])
        return WindowBatch.of(windows, self.num_items, self.device, self.text_vectors)


class WindowsInMemory:
    """Few windows, see `WorkerWindows`."""

    def __init__(self, windows: WindowBatch) -> None:
        self._windows = windows

    @classmethod
    def fetch(cls, references: Sequence[Any], reader: WindowReader) -> "WindowsInMemory":
        """Read tables from Ray's object store."""
        return cls(reader.batch(ray.get(list(references))))

    @classmethod
    def collect(cls, shard: ray.data.DataIterator, reader: WindowReader) -> "WindowsInMemory":
        """Read this worker's share of a Ray Data set, once."""
        return cls(reader.batch(shard.iter_batches(batch_format="pyarrow", batch_size=SHUFFLE_WINDOWS)))

    def batches(self, size: int, seed: int | None) -> Iterator[WindowBatch]:
        """See `WorkerWindows`."""
        count = len(self._windows)
        # the same order as that of Ray Data's local shuffle, which permutes a buffer that holds all windows
        order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
        rows = torch.from_numpy(order).to(self._windows.items.device)
        for start in range(0, count, size):
            yield self._windows.at(rows[start : start + size])


class WindowsStreamed:
    """Many windows, see `WorkerWindows`."""

    def __init__(self, shard: ray.data.DataIterator, reader: WindowReader) -> None:
        self._shard, self._reader = shard, reader

    def batches(self, size: int, seed: int | None) -> Iterator[WindowBatch]:
        """See `WorkerWindows`."""
        shuffled: dict[str, Any] = {}
        if seed is not None:
            shuffled = {"local_shuffle_buffer_size": SHUFFLE_WINDOWS, "local_shuffle_seed": seed}
        for table in self._shard.iter_batches(batch_format="pyarrow", batch_size=size, **shuffled):
            yield self._reader.batch([table])
