"""The fine-tune stage alone: what it needs, then training; nothing is scored or published.

python jobs/finetune.py --config configs/demo.yaml
"""

import sys
from argparse import Namespace

from jobs import command
from recsys.config import Config
from recsys.distributed.cluster import cluster
from recsys.distributed.cold import match_new_items
from recsys.distributed.encode import encode_items, encode_tuned
from recsys.distributed.fuse import fuse
from recsys.distributed.ingest import ingest_catalog, ingest_events, ingest_users, shuffle_histories
from recsys.distributed.linear import learn_linear
from recsys.distributed.night import Night, open_night, run_stage
from recsys.distributed.priors import count_priors
from recsys.distributed.publish import stage_metrics, tidy
from recsys.distributed.train import finetune
from recsys.storage.lease import lock


def learn(night: Night) -> None:
    """Every stage that leads to a trained ranker; the night goes on from there."""
    run_stage(night, "catalog", ingest_catalog)
    if night.config.inputs.users is not None:
        run_stage(night, "users", ingest_users)
    run_stage(night, "ingest", ingest_events)
    run_stage(night, "histories", shuffle_histories)
    run_stage(night, "encode", encode_items)
    run_stage(night, "finetune", finetune)
    if night.config.encoder.learns:
        run_stage(night, "reencode", encode_tuned)
    run_stage(night, "priors", count_priors)
    run_stage(night, "linear", learn_linear)
    run_stage(night, "cold", match_new_items)
    run_stage(night, "fuse", fuse)


def train(config: Config, options: Namespace) -> command.Answer:
    """Train the night's ranker, or find it trained."""
    night = open_night(config)
    with lock(night.run):
        if options.force:
            night.run.forget()
            tidy(night)  # or Ray Train would take up the finished training again
        night.run.write_config(config.to_yaml())
        with cluster(min_cpus=night.min_cpus):
            learn(night)
    command.print_stages(stage_metrics(night), f"fine-tune of {night.run.run_id}")
    return {
        "status": "trained",
        "run_id": night.run.run_id,
        "path": night.storage.url(night.model_path()),
        "model_id": night.model_id,
        "validation_ndcg@10": night.record("finetune")["validation_ndcg@10"],
    }


def main() -> int:
    """The command line."""
    return command.run(train, command.parser("Fine-tune the ranker of a night."))


if __name__ == "__main__":
    sys.exit(main())
