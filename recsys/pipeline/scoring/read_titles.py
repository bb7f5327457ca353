"""The stage `titles`: log P(title | no history) by the language model of `lm`, for each title of the catalog.

The titles that the published night has read with the same model are taken from it.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.errors import InputError
from recsys.model.encoder_files import model_files
from recsys.model.encoder_source import ModelKeys, model_folder
from recsys.model.file_hashes import hashes_of
from recsys.pipeline.model_records import ReadTitles
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import READ_TITLES
from recsys.pipeline.workers.cluster import for_each_part, peak_of
from recsys.ranking.config import RecommendConfig
from recsys.ranking.rules.attributes import attribute_values
from recsys.signals.lm import HISTORY, LmConfig
from recsys.storage.latest import read_latest
from recsys.storage.runs import RunFolder
from recsys.storage.tables import read_table, write_table

if TYPE_CHECKING:
    from recsys.model.title_scorer import TitleScorer

Floats = npt.NDArray[np.float32]

logger = logging.getLogger(__name__)

#: Titles of one part.
TITLES_PER_PART = 4096

_TITLES = pa.schema([pa.field("title", pa.string(), nullable=False)])
_PRIORS = pa.schema([*_TITLES, pa.field("log_prob", pa.float32(), nullable=False)])


def read_titles(run: Run) -> ReadTitles:
    """Compute what the published night does not have, and write the table of this night."""
    assert run.config.lm is not None
    titles = pc.unique(catalog_titles(run))
    lm_id = _lm_digest(run.config.lm)
    known = _published_priors(run, lm_id)
    new = titles.filter(pc.invert(pc.is_in(titles, value_set=known["title"].combine_chunks())))
    parts = {f"{start:09d}": new.slice(start, TITLES_PER_PART) for start in range(0, len(new), TITLES_PER_PART)}
    for part, some in parts.items():
        write_table(run.storage, _part_path(run, part), pa.table([some], schema=_TITLES), _TITLES)
    config = run.config.recommend
    records = for_each_part(
        list(parts),
        partial(_reader, run),
        label="titles",
        num_workers=config.num_workers,
        cpus_per_worker=config.cpus_per_worker,
        gpus_per_worker=int(config.use_gpu),
    )
    found = [read_table(run.storage, _part_path(run, f"{part}-read")) for part in parts]
    kept = known.filter(pc.is_in(known["title"], value_set=titles))
    write_table(run.storage, _priors_path(run.folder), pa.concat_tables([kept, *found]), _PRIORS)
    return ReadTitles(rows=len(titles), computed=len(new), lm_id=lm_id, peak_memory_mb=peak_of(records))


def read_priors(run: Run, titles: pa.Array) -> Floats:
    """[I] log P(title | no history) of these titles of the run's catalog."""
    table = read_table(run.storage, _priors_path(run.folder)).combine_chunks()
    rows = pc.index_in(titles, value_set=table["title"].combine_chunks())
    assert not rows.null_count, "a title was not read"
    return np.asarray(table["log_prob"].take(rows), dtype=np.float32)


def catalog_titles(run: Run) -> pa.Array:
    """[I] the title of each item; its text where `inputs.items.attributes` keeps no title, or the item has none."""
    catalog = read_table(run.storage, run.catalog_path, ["item_id", "text", "attributes"])
    titles = attribute_values(catalog, "title").combine_chunks()
    return pc.coalesce(titles, catalog["text"].combine_chunks().cast(pa.string()), pa.scalar(""))


def load_title_scorer(settings: LmConfig, config: RecommendConfig) -> "TitleScorer":
    """The language model on the device of the scoring workers.

    Raises:
        ConfigError: there is no such model, or it cannot be used.
    """
    import torch

    from recsys.model.precision import dtype_of
    from recsys.model.title_scorer import TitleScorer

    device = torch.device("cuda" if config.use_gpu else "cpu")
    head, _, tail = settings.prompt.partition(HISTORY)
    return TitleScorer.load(
        _folder(settings),
        device,
        dtype_of(settings.precision, device),
        prompt=(head, tail),
        max_title_tokens=settings.max_title_tokens,
        batch_size=settings.batch_size,
    )


def _reader(run: Run) -> Callable[[str], Record]:
    assert run.config.lm is not None
    scorer = load_title_scorer(run.config.lm, run.config.recommend)
    nothing = scorer.read([])

    def read(part: str) -> Record:
        titles = read_table(run.storage, _part_path(run, part))["title"].combine_chunks()
        found = scorer.log_probs(nothing, scorer.title_tokens(titles.to_pylist()))
        table = pa.table([titles, pa.array(found)], schema=_PRIORS)
        write_table(run.storage, _part_path(run, f"{part}-read"), table, _PRIORS)
        return {"rows": len(titles)}

    return read


def _published_priors(run: Run, lm_id: str) -> pa.Table:
    """The table of the published night, if the same model read its titles and it is whole; else an empty one."""
    latest = read_latest(run.storage)
    if latest is not None:
        folder = RunFolder(run.storage, latest.run_id)
        record, table = folder.done(READ_TITLES.name), _priors_path(folder)
        if record is not None and record.get("lm_id") == lm_id:
            try:
                return read_table(run.storage, table)
            except InputError as error:
                logger.warning("all titles are read again: %s", error)
    return _PRIORS.empty_table()


def _lm_digest(settings: LmConfig) -> str:
    """Hex sha256 of what changes log P(title | no history): the files of the model, the prompt, the cut of titles."""
    folder = _folder(settings)
    files = hashes_of(folder, model_files(folder, "lm.model"))
    facts = {"files": files, "prompt": settings.prompt, "max_title_tokens": settings.max_title_tokens}
    facts |= {"precision": settings.precision}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _folder(settings: LmConfig) -> Path:
    return model_folder(settings.model, settings.revision, ModelKeys(model="lm.model", revision="lm.revision"))


def _part_path(run: Run, part: str) -> str:
    return f"{run.folder.dir}/new_titles/{part}.parquet"


def _priors_path(folder: RunFolder) -> str:
    return f"{folder.dir}/title_priors.parquet"
