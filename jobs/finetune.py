"""The fine-tune stage alone: what it needs, then training; nothing is scored or published.

python jobs/finetune.py --config configs/demo.yaml
"""

import sys
from argparse import Namespace

from jobs import command
from recsys.pipeline.cluster import cluster
from recsys.pipeline.count_priors import count_priors
from recsys.pipeline.encode_texts import encode_items, encode_tuned
from recsys.pipeline.fit_fusion import fuse
from recsys.pipeline.ingest import ingest_catalog, ingest_events, ingest_users, shuffle_histories
from recsys.pipeline.learn_ease import learn_linear
from recsys.pipeline.match_cold_items import match_new_items
from recsys.pipeline.publish_lists import stage_metrics, tidy
from recsys.pipeline.run import Run, open_run, run_stage
from recsys.pipeline.train import finetune
from recsys.settings import Config
from recsys.storage.lease import lock


def learn(run: Run) -> None:
    """Every stage that leads to a trained ranker; the night goes on from there."""
    run_stage(run, "catalog", ingest_catalog)
    if run.config.inputs.users is not None:
        run_stage(run, "users", ingest_users)
    run_stage(run, "ingest", ingest_events)
    run_stage(run, "histories", shuffle_histories)
    run_stage(run, "encode", encode_items)
    run_stage(run, "finetune", finetune)
    if run.config.encoder.learns:
        run_stage(run, "reencode", encode_tuned)
    run_stage(run, "priors", count_priors)
    run_stage(run, "linear", learn_linear)
    run_stage(run, "cold", match_new_items)
    run_stage(run, "fuse", fuse)


def train(config: Config, options: Namespace) -> command.Answer:
    """Train the night's ranker, or find it trained."""
    run = open_run(config)
    with lock(run.folder):
        if options.force:
            run.folder.forget()
            tidy(run)  # or Ray Train would take up the finished training again
        run.folder.write_config(config.to_yaml())
        with cluster(min_cpus=run.min_cpus):
            learn(run)
    command.print_stages(stage_metrics(run), f"fine-tune of {run.folder.run_id}")
    return {
        "status": "trained",
        "run_id": run.folder.run_id,
        "path": run.storage.url(run.model_path()),
        "model_id": run.model_id,
        "validation_ndcg@10": run.record("finetune")["validation_ndcg@10"],
    }


def main() -> int:
    """The command line."""
    return command.run(train, command.parser("Fine-tune the ranker of a night."))


if __name__ == "__main__":
    sys.exit(main())
