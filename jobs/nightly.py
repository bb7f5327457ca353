"""The night: from raw events and items to published lists, as stages that are each done once.

python jobs/nightly.py --config configs/demo.yaml
"""

import sys
from argparse import Namespace
from dataclasses import replace
from functools import partial

from jobs import command
from jobs.plan import print_plan
from recsys.config import Config
from recsys.distributed.cluster import cluster
from recsys.distributed.cold import match_new_items
from recsys.distributed.encode import encode_items, encode_tuned
from recsys.distributed.evaluate import examine
from recsys.distributed.fuse import fuse
from recsys.distributed.ingest import ingest_catalog, ingest_events, ingest_users, shuffle_histories
from recsys.distributed.linear import learn_linear
from recsys.distributed.night import Night, open_night, run_stage
from recsys.distributed.priors import count_priors
from recsys.distributed.publish import publish_night, stage_metrics, tidy
from recsys.distributed.report import write_report
from recsys.distributed.score import recommend
from recsys.distributed.train import finetune, refit
from recsys.errors import GateError, InputError
from recsys.storage.lease import Lease, lock
from recsys.storage.publish import published, unpublished_run


def stages(night: Night, lease: Lease) -> None:
    """The night as its list of stages."""
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
    gate = run_stage(night, "gate", examine)
    if gate["verdict"] == "refused":
        raise GateError(f"the gate refused {night.model_id}: {gate['reason']}; nothing was published")
    if night.config.train.refit:
        run_stage(night, "refit", refit)
    run_stage(night, "recommend", recommend)
    run_stage(night, "publish", partial(publish_night, lease=lease))


def nightly(config: Config, options: Namespace) -> command.Answer:
    """Run the night, or say that it is done."""
    night = open_night(config)
    if options.dry_run:
        print_plan(night)
        return {"status": "planned", "run_id": night.run.run_id}
    if options.force:
        night = replace(night, run=unpublished_run(night.run))
    elif (latest := published(night.storage, night.run.run_id)) is not None:
        return {"status": "already_published", "run_id": latest.run_id, "path": night.storage.url(latest.path)}
    with lock(night.run) as lease:
        if options.force:
            night.run.forget()
            tidy(night)  # or Ray Train would take up the finished training again
        night.run.write_config(config.to_yaml())
        with cluster(min_cpus=night.min_cpus):
            refused = {}
            try:
                stages(night, lease)
            except InputError as error:
                refused = error.details
                raise
            finally:
                metrics = {"run_id": night.run.run_id, "stages": stage_metrics(night), "refused": refused}
                night.run.write_metrics(metrics)
        write_report(night)
        tidy(night)
    command.print_stages(stage_metrics(night), f"night {night.run.run_id}")
    done = night.record("publish")
    return {
        "status": "published",
        "run_id": night.run.run_id,
        "path": night.storage.url(done["path"]),
        "latest": done["latest"],
        "users": night.record("recommend")["users"],
        "model_id": night.published_id,
        "metrics": night.storage.url(night.run.metrics_path),
        "report": night.storage.url(night.run.report_path),
    }


def main() -> int:
    """The command line."""
    parser = command.parser("Score every user and publish the lists.")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved plan and touch nothing")
    return command.run(nightly, parser)


if __name__ == "__main__":
    sys.exit(main())
