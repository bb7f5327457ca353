"""Back ends in Ray's workers: each part of the night's questions is answered, cleaned, checked and stored by one."""

from collections.abc import Callable, Sequence
from functools import partial

import pyarrow as pa

from recsys.enrichment.backends.registry import BACKENDS, backend_settings
from recsys.enrichment.request import TextRequest, request_of
from recsys.pipeline.enrichment.write_texts import TextWriter, enrich_config, finish_texts, open_writer
from recsys.pipeline.run import Record, Run
from recsys.pipeline.workers.cluster import for_each_part
from recsys.schema import TEXT_FACTS
from recsys.storage.tables import read_table, write_table


def write_on_workers(run: Run, label: str, writer: TextWriter, requests: Sequence[TextRequest]) -> None:
    """Have texts written by `Backend.open` in workers. What a worker has stored is not asked for again."""
    config = enrich_config(run)
    backend, settings = BACKENDS[config.backend], backend_settings(config)
    size = backend.texts_per_part
    parts: dict[str, Sequence[TextRequest]] = {
        requests[start].key: requests[start : start + size] for start in range(0, len(requests), size)
    }
    folder = f"{run.folder.dir}/text_requests"
    for part, asked in parts.items():
        table = pa.table([[each.key for each in asked], [each.data for each in asked]], schema=TEXT_FACTS)
        write_table(run.storage, f"{folder}/{part}.parquet", table, TEXT_FACTS)
    for_each_part(
        list(parts),
        partial(_worker, run, writer, folder),
        label=label,
        num_workers=backend.workers(settings),
        gpus_per_worker=backend.gpus(settings),
    )


def _worker(run: Run, writer: TextWriter, folder: str) -> Callable[[str], Record]:
    loaded = open_writer(run, writer)

    def write(part: str) -> Record:
        facts = read_table(run.storage, f"{folder}/{part}.parquet")["facts"].to_pylist()
        requests = [request_of(data, writer.spec) for data in facts]
        return finish_texts(run, writer, requests, loaded.write(requests))

    return write
