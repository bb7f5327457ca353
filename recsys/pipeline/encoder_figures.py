"""The stored figures of the variants of a text encoder: measured once for a night."""

from typing import Any

from recsys.pipeline.lessons import SourceEncoder
from recsys.pipeline.measure_encoder import measure_encoder
from recsys.pipeline.run import Run
from recsys.pipeline.worker_pools import call_in_worker
from recsys.storage.record_kinds import COMPRESSED_FIGURES


def figures_of(run: Run, source: SourceEncoder, model: str | None, *, again: bool = False) -> dict[str, Any]:
    """`EncoderFigures` of a variant, stored or measured now.

    Args:
        run: The published night.
        source: Its encoder.
        model: `encoder.model` of the variant; None: the full encoder.
        again: Measure also what is stored.
    """
    name = "full" if model is None else model.rpartition("/")[2]
    path, url = f"{run.folder.dir}/compressed/{name}.json", run.storage.url
    if not again and run.storage.exists(path):
        return COMPRESSED_FIGURES.current(run.storage.read_json(path), url(path))
    figures: dict[str, Any] = call_in_worker(measure_encoder, run, source, model, label=f"measure {name}", num_cpus=1)
    run.storage.write_json(path, COMPRESSED_FIGURES.stamp(figures))
    return figures
