"""The plan of a night for `--dry-run`: inputs with their sizes, stages with their workers, and where all is written."""

from rich.table import Table

from jobs.command import console
from recsys.data.config import TableInput
from recsys.data.estimates import estimate_rows
from recsys.pipeline.run import Run, input_files
from recsys.pipeline.write_lists import fusion_path
from recsys.signals.signals import SIGNALS
from recsys.storage.filesystem import open_input
from recsys.storage.publish import lists_folder


def print_plan(run: Run) -> None:
    """Print what a night would do; only listings and samples of the inputs are read, nothing is written."""
    config = run.config
    console.print(f"run [bold]{run.folder.run_id}[/], events before {run.end:%Y-%m-%d %H:%M} UTC", highlight=False)
    inputs = Table(title="inputs")
    for column in ("input", "path", "files", "bytes", "rows (about)"):
        inputs.add_column(column, overflow="fold")
    rows = {}
    sources = {"events": config.inputs.events, "items": config.inputs.items, "users": config.inputs.users}
    for name, source in ((name, source) for name, source in sources.items() if source is not None):
        files, num_bytes, rows[name] = _size(source)
        inputs.add_row(name, source.path, f"{files:,}", f"{num_bytes:,}", f"{rows[name]:,}")
    console.print(inputs)
    console.print(_stage_table(run, rows))
    console.print("[bold]resolved config[/]")
    console.print(config.to_yaml(), markup=False, highlight=False)


def _size(source: TableInput) -> tuple[int, int, int]:
    files = input_files(source)
    fs, _ = open_input(source.path)
    return len(files), sum(file.size for file in files), estimate_rows(fs, files, source.format)


def _stage_table(run: Run, rows: dict[str, int]) -> Table:
    config = run.config
    url = run.storage.url
    encoder = config.encoder.model or "a small encoder from scratch"
    decoder = config.ranker.model or f"{config.ranker.layers} layers × {config.ranker.hidden_size}"
    training = _workers(config.train.num_workers, config.train.use_gpu)
    refit = [("refit", training, "the held-out days too", url(run.model_path(run.refit_id)))]
    encoding = _workers(config.encoder.num_workers, config.encoder.use_gpu)
    reencode = [("reencode", encoding, f"the encoder as it was trained ({config.encoder.train})", url("items"))]
    users = [("users", "all CPUs", f"{rows['users']:,} rows", url(run.profiles_dir))] if "users" in rows else []
    plan = [
        ("catalog", "all CPUs", f"{rows['items']:,} rows", url(run.catalog_path)),
        *users,
        ("ingest", "all CPUs", f"{rows['events']:,} rows", url(run.folder.quarantine_dir)),
        ("histories", "all CPUs", f"{config.histories.shards} shards", url(run.folder.histories_dir)),
        ("encode", encoding, encoder, url("items")),
        (
            "finetune",
            training,
            f"{decoder}, {config.train.epochs} epochs, ZeRO-{config.train.zero_stage}, {config.train.precision}",
            url(run.model_path()),
        ),
        *(reencode if config.encoder.learns else []),
        ("priors", "all CPUs", "what follows what, daily popularity", url(run.transitions_dir("full"))),
        ("linear", "3 × CPU", f"EASE of {config.linear.items:,} items at most", url(run.linear_path("full"))),
        ("cold", "2 × CPU", "who lends to new items", url(run.lenders_path("full"))),
        (
            "fuse",
            _workers(config.recommend.num_workers, config.recommend.use_gpu),
            f"weights of {len(config.recommend.signals or SIGNALS)} signals",
            url(fusion_path(run, run.model_id)),
        ),
        ("gate", _workers(config.recommend.num_workers, config.recommend.use_gpu), config.gate.metric, "—"),
        *(refit if config.train.refit else []),
        (
            "recommend",
            _workers(config.recommend.num_workers, config.recommend.use_gpu),
            f"top {config.recommend.top_k} of {config.recommend.candidates} candidates",
            url(lists_folder(run.folder)),
        ),
        ("publish", "driver", "manifest, then LATEST", url("recommendations", "LATEST.json")),
    ]
    table = Table(title="stages")
    for column in ("stage", "workers", "work", "writes"):
        table.add_column(column, overflow="fold")
    for row in plan:
        table.add_row(*row)
    return table


def _workers(count: int | None, use_gpu: bool) -> str:
    device = "GPU" if use_gpu else "CPU"
    return f"all {device}s" if count is None else f"{count} × {device}"
