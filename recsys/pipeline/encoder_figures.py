"""The stored figures of the variants of a text encoder: measured once for a night."""

import logging

from recsys.config.strict_json import as_json, from_json
from recsys.errors import NewerFormatError
from recsys.pipeline.lessons import SourceEncoder
from recsys.pipeline.measure_encoder import EncoderFigures, measure_encoder
from recsys.pipeline.run import Run
from recsys.pipeline.worker_pools import call_in_worker
from recsys.storage.record_kinds import COMPRESSED_FIGURES

logger = logging.getLogger(__name__)


def figures_of(run: Run, source: SourceEncoder, model: str | None, *, again: bool = False) -> EncoderFigures:
    """What is known of a variant, from an earlier start or measured now.

    Args:
        run: The published night.
        source: Its encoder.
        model: `encoder.model` of the variant; None: the full encoder.
        again: Measure also what is stored.
    """
    path = figures_path(run, model)
    if not again and (known := read_figures(run, path)) is not None:
        return known
    label = f"measure {path.rpartition('/')[2]}"
    figures: EncoderFigures = call_in_worker(measure_encoder, run, source, model, label=label, num_cpus=1)
    run.storage.write_json(path, COMPRESSED_FIGURES.stamp(as_json(figures)))
    return figures


def figures_path(run: Run, model: str | None) -> str:
    """Where the figures of a variant are; they are deleted with the run."""
    return f"{run.folder.dir}/compressed/{'full' if model is None else model.rpartition('/')[2]}.json"


def read_figures(run: Run, path: str) -> EncoderFigures | None:
    """Figures of an earlier start; None: there are none, or those of another release, which are measured again."""
    try:
        return from_json(EncoderFigures, COMPRESSED_FIGURES.current(run.storage.read_json(path), run.storage.url(path)))
    except FileNotFoundError:
        return None
    except (ValueError, NewerFormatError) as error:
        logger.warning("%s: is measured again (%s)", run.storage.url(path), error)
        return None
