"""The stored figures of the variants of a text encoder: measured once for a night."""

import logging
from dataclasses import replace

from recsys.config.strict_json import as_json, from_json
from recsys.errors import ConfigError, NewerFormatError
from recsys.model.encoder_files import vectors_digest
from recsys.pipeline.encoders.encode_texts import configured_encoder
from recsys.pipeline.encoders.encoder_variants import FULL, EncoderVariant, variants_of
from recsys.pipeline.encoders.export_encoder import settle_export
from recsys.pipeline.encoders.lessons import SourceEncoder
from recsys.pipeline.encoders.measure_encoder import EncoderFigures, MeasuredEncoder, measure_encoder
from recsys.pipeline.run import Run
from recsys.pipeline.workers.worker_pools import call_in_worker
from recsys.storage.record_kinds import COMPRESSED_FIGURES

logger = logging.getLogger(__name__)


def figures_of(
    run: Run, source: SourceEncoder, variant: EncoderVariant, model: str | None, *, again: bool = False
) -> EncoderFigures:
    """What is known of a variant, from an earlier start or measured now.

    Args:
        run: The published night.
        source: Its encoder.
        variant: To be measured.
        model: `encoder.model` of the variant; None: it is the encoder of the night.
        again: Measure also what is stored.
    """
    path = figures_path(run, variant, model)
    if not again and (known := read_figures(run, path)) is not None:
        return known
    full = MeasuredEncoder(_with(run, variants_of([], run.config.compress)[0], None), *source)
    other = None if variant.name == FULL else _measured(run, source, variant, model)
    label = f"measure {variant.name}"
    figures: EncoderFigures = call_in_worker(measure_encoder, full, other, label=label, num_cpus=1)
    run.storage.write_json(path, COMPRESSED_FIGURES.stamp(as_json(figures)))
    return figures


def _measured(run: Run, source: SourceEncoder, variant: EncoderVariant, model: str | None) -> MeasuredEncoder:
    """The variant, exported for its engine where it needs that."""
    own = _with(run, variant, model)
    source_id, trained_by = source if model is None else SourceEncoder(configured_encoder(own), None)
    spec = own.config.encoder
    if spec.quantization != "none" and trained_by is not None:
        raise ConfigError(f"--variants {variant.name}: int8 is for a frozen encoder, and encoder.train={spec.train}")
    encoder_id = vectors_digest(source_id, spec.quantization)
    if spec.engine == "onnx":
        settle_export(own, source_id, encoder_id, trained_by)
    return MeasuredEncoder(own, encoder_id, trained_by)


def _with(run: Run, variant: EncoderVariant, model: str | None) -> Run:
    encoder = variant.config(run.config.encoder, model)
    return replace(run, config=run.config.model_copy(update={"encoder": encoder}))


def figures_path(run: Run, variant: EncoderVariant, model: str | None) -> str:
    """Where the figures of a variant are; they are deleted with the run."""
    name = variant.weights if model is None else model.rpartition("/")[2]
    return f"{run.folder.dir}/compressed/{name}{variant.name.removeprefix(variant.weights)}.json"


def read_figures(run: Run, path: str) -> EncoderFigures | None:
    """Figures of an earlier start; None: there are none, or those of another release, which are measured again."""
    try:
        return from_json(EncoderFigures, COMPRESSED_FIGURES.current(run.storage.read_json(path), run.storage.url(path)))
    except FileNotFoundError:
        return None
    except (ValueError, NewerFormatError) as error:
        logger.warning("%s: is measured again (%s)", run.storage.url(path), error)
        return None
