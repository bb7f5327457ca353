"""The night: from raw events and items to published lists, as stages that are each done once.

python jobs/nightly.py --config configs/demo.yaml
"""

import sys
from argparse import Namespace
from dataclasses import replace
from functools import partial

from jobs import command
from jobs.plan import print_plan
from recsys.errors import GateError, InputError
from recsys.pipeline.cluster import cluster
from recsys.pipeline.count_priors import count_priors
from recsys.pipeline.encode_texts import encode_items, encode_tuned
from recsys.pipeline.fit_fusion import fuse
from recsys.pipeline.ingest import ingest_catalog, ingest_events, ingest_users, shuffle_histories
from recsys.pipeline.learn_ease import learn_linear
from recsys.pipeline.match_cold_items import match_new_items
from recsys.pipeline.publish_lists import publish_night, stage_metrics, tidy
from recsys.pipeline.run import Run, open_run, run_stage
from recsys.pipeline.run_gate import examine
from recsys.pipeline.train import finetune, refit
from recsys.pipeline.write_lists import recommend
from recsys.pipeline.write_report import write_report
from recsys.settings import Config
from recsys.storage.lease import Lease, lock
from recsys.storage.publish import published, unpublished_run


def stages(run: Run, lease: Lease) -> None:
    """The night as its list of stages."""
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
    gate = run_stage(run, "gate", examine)
    if gate["verdict"] == "refused":
        raise GateError(f"the gate refused {run.model_id}: {gate['reason']}; nothing was published")
    if run.config.train.refit:
        run_stage(run, "refit", refit)
    run_stage(run, "recommend", recommend)
    run_stage(run, "publish", partial(publish_night, lease=lease))


def nightly(config: Config, options: Namespace) -> command.Answer:
    """Run the night, or say that it is done."""
    run = open_run(config)
    if options.dry_run:
        print_plan(run)
        return {"status": "planned", "run_id": run.folder.run_id}
    if options.force:
        run = replace(run, folder=unpublished_run(run.folder))
    elif (latest := published(run.storage, run.folder.run_id)) is not None:
        return {"status": "already_published", "run_id": latest.run_id, "path": run.storage.url(latest.path)}
    with lock(run.folder) as lease:
        if options.force:
            run.folder.forget()
            tidy(run)  # or Ray Train would take up the finished training again
        run.folder.write_config(config.to_yaml())
        with cluster(min_cpus=run.min_cpus):
            refused = {}
            try:
                stages(run, lease)
            except InputError as error:
                refused = error.details
                raise
            finally:
                metrics = {"run_id": run.folder.run_id, "stages": stage_metrics(run), "refused": refused}
                run.folder.write_metrics(metrics)
        write_report(run)
        tidy(run)
    command.print_stages(stage_metrics(run), f"night {run.folder.run_id}")
    done = run.record("publish")
    return {
        "status": "published",
        "run_id": run.folder.run_id,
        "path": run.storage.url(done["path"]),
        "latest": done["latest"],
        "users": run.record("recommend")["users"],
        "model_id": run.published_id,
        "metrics": run.storage.url(run.folder.metrics_path),
        "report": run.storage.url(run.folder.report_path),
    }


def main() -> int:
    """The command line."""
    parser = command.parser("Score every user and publish the lists.")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved plan and touch nothing")
    return command.run(nightly, parser)


if __name__ == "__main__":
    sys.exit(main())
