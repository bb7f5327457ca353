"""Makes smaller variants of the text encoder, measures them, and says which one to put into the config.

python jobs/compress.py --config configs/demo.yaml
python jobs/compress.py --config configs/demo.yaml --layers 2 3 4
python jobs/compress.py --config configs/demo.yaml --variants vocabulary full+int8

It reads the newest published night, and publishes nothing. What an earlier start has made or measured is not done
again.
"""

import importlib.util
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from rich.table import Table

from jobs import command
from jobs.log_output import console
from recsys.pipeline.encoders.compressed_encoder import require_compressed
from recsys.pipeline.encoders.encoder_variants import EncoderVariant, usual_variants, variants_of
from recsys.pipeline.open_run import files_named, stored_run
from recsys.pipeline.run import Run
from recsys.settings import Config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import Latest, require_latest
from recsys.storage.lease import lock
from recsys.storage.runs import RunFolder


def compress(config: Config, options: Namespace) -> command.Answer:
    """Make the variants that are asked for, and compare them with the full encoder."""
    if options.layers:
        config = config.model_copy(update={"compress": config.compress.model_copy(update={"layers": options.layers})})
    variants_of(options.variants or [], config.compress)  # an unknown name is refused before anything is read
    storage = Storage(config.storage)
    latest = require_latest(storage)
    run = stored_run(RunFolder(storage, latest.run_id))
    run = with_full_encoder(replace(run, config=run.config.model_copy(update={"compress": config.compress})))
    variants = variants_of(options.variants or usual_variants(config.compress, _engines(run)), config.compress)
    with lock(run.folder, run.folder.run_id), files_named(run.folder), command.on_ray(run.config):
        rows = _rows(run, latest, variants, again=options.force)
    best = advised(rows, config.compress.max_loss)
    _print(rows, best)
    return {
        "status": "compressed",
        "run_id": run.folder.run_id,
        "path": storage.url("models/compressed-encoders"),
        "advised": best["variant"],
        "encoder": best["encoder"],
        "variants": rows,
    }


def with_full_encoder(run: Run) -> Run:
    """The run with the encoder in its config that was compressed, where the run reads a compressed one."""
    spec = run.config.encoder
    if spec.model is None or not spec.is_compressed:
        return run
    note = require_compressed(run.storage, spec.model)
    encoder = spec.model_copy(update={"model": note.model, "revision": note.revision})
    return replace(run, config=run.config.model_copy(update={"encoder": encoder}))


def _engines(run: Run) -> list[str]:
    """Engines of this machine beside torch, for a frozen encoder on CPUs."""
    from recsys.model.onnx_encoder import has_exact_int8
    from recsys.model.onnx_packages import EXPORT_PACKAGES

    if run.config.encoder.learns or run.config.encoder.use_gpu:
        return []
    if any(importlib.util.find_spec(name) is None for name in EXPORT_PACKAGES):
        return []
    return ["onnx", "int8"] if has_exact_int8() else ["onnx"]


def _rows(run: Run, latest: Latest, variants: Sequence[EncoderVariant], *, again: bool) -> list[dict[str, Any]]:
    """A row for each variant; they are made first."""
    # after the checks, since PyTorch is slow to import
    from recsys.pipeline.encoders.compress_encoder import EncoderMaker
    from recsys.pipeline.encoders.encode_texts import configured_encoder
    from recsys.pipeline.encoders.encoder_figures import figures_of
    from recsys.pipeline.encoders.lessons import SourceEncoder
    from recsys.pipeline.stored.published_model import model_card

    card = model_card(run, latest.model_id)
    # the digest of the weights: that of a quantized encoder, which the card has, names its vectors
    digest = configured_encoder(run) if card.encoder_model is None else card.encoder_id
    source = SourceEncoder(digest, card.encoder_model)
    maker = EncoderMaker.of(run, source)
    wanted = {variant.weights: variant for variant in variants if variant.is_made}  # engines share the weights
    made = {weights: maker.make(variant) for weights, variant in wanted.items()}
    maker.tidy()
    encoders = [made.get(variant.weights) for variant in variants]
    return [
        {
            "variant": variant.name,
            "encoder": variant.settings(encoder.model if encoder else None),
            "layers": encoder.note.layers if encoder else None,
            "made_now": encoder is not None and encoder.made_now,
            **asdict(figures_of(run, source, variant, encoder.model if encoder else None, again=again)),
        }
        for variant, encoder in zip(variants, encoders, strict=True)
    ]


def advised(rows: Sequence[dict[str, Any]], max_loss: float) -> dict[str, Any]:
    """The fastest variant among those that lose no more than allowed; the first row, if none is faster.

    The first row too where no user has an item by which a loss could be measured.
    """
    full = rows[0]
    if full["ndcg"] is None:
        return full
    good = [row for row in rows if row["ndcg"] >= (1 - max_loss) * row["ndcg_full"]]
    return max(good, key=lambda row: (row["speed"], -row["bytes"]))


def _print(rows: Sequence[dict[str, Any]], best: dict[str, Any]) -> None:
    table = Table(
        "variant",
        "MB",
        "size",
        "texts/s",
        "speed",
        "a search p50, p99",
        "similarities",
        "NDCG@10",
        "difference",
        title=f"one thread; NDCG@10 is of the text signal alone, for the last item of {rows[0]['users']:,} users",
    )
    for row in rows:
        table.add_row(
            f"{row['variant']} (advised)" if row is best else row["variant"],
            f"{row['bytes'] / 1e6:,.1f}",
            f"{row['size']:.0%}",
            f"{row['texts_per_s']:,.0f}",
            f"{row['speed']:.2f}×",
            f"{row['p50_ms']:.1f}, {row['p99_ms']:.1f} ms",
            f"{row['agreement']:.3f}",
            "–" if row["ndcg"] is None else f"{row['ndcg']:.4f}",
            "–" if row["difference"] is None else f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]",
        )
    console.print(table)
    if best is rows[0]:
        why = "nobody's list could be measured" if best["ndcg"] is None else "no variant is faster without a loss"
        console.print(f"Leave the encoder as it is: {why}.")
        return
    keys = ", ".join(f"{key}: {value}" for key, value in best["encoder"].items())
    console.print(f"Put this into the config, and the next night reads it:\n\nencoder: {{{keys}}}\n", soft_wrap=True)


def main() -> int:
    """The command line."""
    parser = command.parser(
        "Make smaller variants of the text encoder, measure them, and say which one to take.",
        force="measure again what was measured before",
        dated=False,
    )
    help_layers = "make variants with so many layers (default: compress.layers)"
    parser.add_argument("--layers", type=int, nargs="+", metavar="N", help=help_layers)
    help_variants = (
        "full, vocabulary, or layers-N, each also with +onnx or +int8; the others are compared with full (default: all "
        "that the config asks for and this machine can run)"
    )
    parser.add_argument("--variants", nargs="+", metavar="NAME", help=help_variants)
    return command.run(compress, parser)


if __name__ == "__main__":
    command.end_process(main)
