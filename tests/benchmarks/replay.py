"""Fits the fusion of a finished night again with other settings and makes its lists again. No model is trained.

Most parts of the score are signals. What such a part is worth shows without a second training: the weights of all
others are fitted on the same night's signals, without it. The night itself stays as it is.
"""

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from jobs import command
from recsys.pipeline.run import Run
from recsys.pipeline.run_stages import run_stage, run_stages
from recsys.pipeline.stages import COUNT_SIGNALS, FIT_FUSION, MATCH_COLD_ITEMS, READ_TITLES, RUN_GATE, WRITE_LISTS
from recsys.pipeline.stored.stored_fusion import copy_fusion, read_fusion, write_fusion
from recsys.settings import load_config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from recsys.storage.manifest import lists_folder
from recsys.storage.runs import RunFolder

#: Stages that are run again where more than `recommend` changes. The refit is not: it trains the ranker.
COUNTS = (COUNT_SIGNALS, MATCH_COLD_ITEMS)


def replay(warehouse: Path, changes: Sequence[str], *, left_out: Collection[str] = ()) -> pd.DataFrame:
    """The lists that the night in a storage would have published with other settings of its signals and its fusion.

    Args:
        warehouse: Storage of a published night. It stays as it is.
        changes: KEY=VALUE of keys that the training does not read, such as `recommend.signals=[ease]`.
        left_out: Parts of the fitted fusion that are left out: `trees`, `short`, `session`.

    Returns:
        Rows of user_id, rank, item_id.
    """
    with copied(warehouse) as copy:
        run = reopened(copy, changes)
        counted = all(change.startswith(("recommend.", "lm")) for change in changes)
        titles = (READ_TITLES,) if run.config.lm is not None else ()
        fitted = (*titles, FIT_FUSION) if counted else (*COUNTS, *titles, FIT_FUSION)
        for stage in (*fitted, RUN_GATE, WRITE_LISTS):
            run.storage.delete(run.folder.stage_path(stage.name))
            run.storage.delete_folder(f"{run.folder.stages_dir}/{stage.name}")
        run_stages(run, fitted)
        copy_fusion(run, run.model_id, run.published_id)  # as the refit does
        fusion = replace(read_fusion(run, run.published_id), **dict.fromkeys(left_out))
        write_fusion(run, run.published_id, fusion)
        run_stage(run, WRITE_LISTS)
        return pd.read_parquet(copy / lists_folder(run.folder), columns=["user_id", "rank", "item_id"])


@contextmanager
def on_ray(warehouse: Path) -> Iterator[None]:
    """Start Ray with enough CPUs for the night of a storage."""
    with command.on_ray(reopened(warehouse, ()).config):
        yield


@contextmanager
def copied(warehouse: Path) -> Iterator[Path]:
    """A copy of a storage beside it, by hard links: the storage replaces files and never writes into them."""
    with TemporaryDirectory(prefix="replay-", dir=warehouse.parent) as folder:
        copy = Path(folder) / "warehouse"
        shutil.copytree(warehouse, copy, copy_function=os.link)
        yield copy


def reopened(storage: Path, changes: Sequence[str]) -> Run:
    """The published run of a storage with changed settings, under its own name."""
    root = Storage(str(storage))
    folder = RunFolder(root, require_latest(root).run_id)
    config = load_config(storage / folder.config_path, [*changes, f"storage={storage}"])
    return Run(config=config, date=folder.date, folder=folder)
