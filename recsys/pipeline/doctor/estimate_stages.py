"""About how long each stage of a night will take, and how much memory and storage, from nights that were measured.

Those are the last nights of the storage that are not much smaller. A stage that none of them has is estimated from a
night that was measured when this version was made. Time, storage, and memory above that of loaded libraries are scaled
with the rows of an input.
"""

import logging
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from statistics import median
from typing import Any, NamedTuple

from recsys.errors import RecsysError
from recsys.pipeline.run import Run
from recsys.pipeline.stage import Stage
from recsys.pipeline.stage_places import places
from recsys.storage.filesystem import Storage
from recsys.storage.manifest import MANIFEST, decode_manifest
from recsys.storage.runs import RunFolder

logger = logging.getLogger(__name__)

#: Nights that are looked at. One alone may have run beside other work.
MOST_NIGHTS = 3
#: A night of less than one in so many rows says nothing: most of its cost does not grow with the rows. A new shop has
#: nights without events, and a storage may begin with a night of a small sample.
_MOST_GROWTH = 100
#: Stages whose work grows with the items; that of the others grows with the events.
_BY_ITEMS = ("catalog", "enrich", "encode", "reencode", "cold", "titles", "similar_items")
#: Memory of a process that has loaded all libraries and models, MB: it does not grow with the rows.
_LOADED_MB = 1500.0


class StageCost(NamedTuple):
    """What a stage takes."""

    seconds: float
    peak_memory_mb: float
    """Of its largest process."""
    stored_bytes: int
    """What it leaves in the storage after the night is published."""
    measured: str = ""
    """Where an estimate comes from: `last 3 nights`, or the name of `REFERENCE`."""


@dataclass(frozen=True, kw_only=True)
class MeasuredNight:
    """A night with the cost of its stages, by their names."""

    name: str
    events: int
    items: int
    costs: Mapping[str, StageCost]

    def says_of(self, events: int, items: int) -> bool:
        """Whether its costs can be scaled to these numbers of rows."""
        return events <= _MOST_GROWTH * self.events and items <= _MOST_GROWTH * self.items

    def scaled(self, stage: str, events: int, items: int) -> StageCost:
        """The cost of a stage for other numbers of rows."""
        seconds, peak, stored, _ = self.costs[stage]
        ratio = items / max(self.items, 1) if stage in _BY_ITEMS else events / max(self.events, 1)
        return StageCost(
            seconds=seconds * ratio,
            peak_memory_mb=peak if peak < _LOADED_MB else _LOADED_MB + (peak - _LOADED_MB) * ratio,
            stored_bytes=round(stored * ratio),
            measured=self.name,
        )


#: Two cores with AVX-512, 24 GiB; Online Retail with `configs/online_retail.yaml`, measured on 2026-11-29 with these
#: versions. Without a GPU, MiniLM as text encoder, 14 epochs.
REFERENCE = MeasuredNight(
    name="Online Retail",
    events=368_819,
    items=3_665,
    costs={
        "catalog": StageCost(1.2, 669, 162_744),
        "ingest": StageCost(0.2, 669, 0),
        "histories": StageCost(2.1, 698, 2_258_646),
        "encode": StageCost(4.7, 819, 11_644_343),
        "finetune": StageCost(212.5, 1927, 4_041_036),
        "signals": StageCost(41.5, 2516, 46_156_061),
        "cold": StageCost(0.4, 784, 13_217),
        "fuse": StageCost(22.0, 2029, 20_000),
        "gate": StageCost(3.8, 2029, 0),
        "refit": StageCost(39.5, 1599, 4_041_036),
        "recommend": StageCost(8.2, 1668, 530_000),
        "check": StageCost(0.1, 840, 0),
        "publish": StageCost(0.1, 836, 6_208),
    },
)


def last_nights(run: Run, stages: Iterable[Stage[Any]]) -> list[MeasuredNight]:
    """The last published nights of the storage, the newest first; reads manifests, and sizes of files."""
    stages = list(stages)
    root = "recommendations"
    found = [name for name in run.storage.list(root, recursive=True) if posixpath.basename(name) == MANIFEST]
    newest = sorted(found, reverse=True)[:MOST_NIGHTS]
    return [
        _measured(run, manifest, stages) for name in newest if (manifest := _manifest(run.storage, f"{root}/{name}"))
    ]


def estimate_stage(stage: str, nights: Sequence[MeasuredNight], events: int, items: int) -> StageCost | None:
    """The median of the nights, scaled to these rows; else the `REFERENCE`, scaled; None: no night has the stage."""
    near = [night for night in nights if stage in night.costs and night.says_of(events, items)]
    scaled = [night.scaled(stage, events, items) for night in near]
    if not scaled:
        return REFERENCE.scaled(stage, events, items) if stage in REFERENCE.costs else None
    return StageCost(
        seconds=median(each.seconds for each in scaled),
        peak_memory_mb=median(each.peak_memory_mb for each in scaled),
        stored_bytes=round(median(each.stored_bytes for each in scaled)),
        measured="last night" if len(scaled) == 1 else f"last {len(scaled)} nights",
    )


def _manifest(storage: Storage, path: str) -> Mapping[str, Any] | None:
    """The manifest at a path; None where it cannot be read: an estimate does without it."""
    try:
        return decode_manifest(storage.read_bytes(path), storage.url(path))
    except RecsysError as error:
        logger.warning("%s", error)
        return None


def _measured(run: Run, manifest: Mapping[str, Any], stages: Sequence[Stage[Any]]) -> MeasuredNight:
    past = replace(run, folder=RunFolder(run.storage, manifest["run_id"]))
    metrics: Mapping[str, Mapping[str, Any]] = manifest["metrics"]
    costs = {
        stage.name: StageCost(done["seconds"], done["peak_memory_mb"], _stored(past, stage, done))
        for stage in stages
        if (done := metrics.get(stage.name)) is not None
    }
    return MeasuredNight(
        name=manifest["run_id"],
        events=metrics.get("ingest", {}).get("rows", 0),
        items=metrics.get("catalog", {}).get("rows", 0),
        costs=costs,
    )


def _stored(run: Run, stage: Stage[Any], done: Mapping[str, Any]) -> int:
    """Bytes that a stage of a past night has left. The store of vectors is shared, so new vectors are counted."""
    new_vectors = int(done.get("encoded", 0)) * int(done.get("dim", 0)) * 4
    return new_vectors + sum(_bytes(run.storage, place) for place in places(run, stage.writes) if "<" not in place)


def _bytes(storage: Storage, place: str) -> int:
    folder, _, name = place.rpartition("/")
    if not name:
        return sum(storage.sizes(folder, recursive=True).values())
    return sum(size for file, size in storage.sizes(folder).items() if fnmatch(file, name))
