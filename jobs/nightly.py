"""The night: from raw events and items to published lists, as stages that each run once.

python jobs/nightly.py --config configs/demo.yaml
"""

import sys
from argparse import Namespace
from dataclasses import replace

from jobs import command
from jobs.plan import print_plan
from recsys.errors import RecsysError
from recsys.pipeline.gate_summary import stop_if_refused, verdict_answer, was_refused
from recsys.pipeline.open_run import open_run
from recsys.pipeline.publish_lists import delete_intermediate_files, stage_metrics
from recsys.pipeline.run import Run
from recsys.pipeline.run_stages import run_stage, run_stages
from recsys.pipeline.stages import (
    CHECK_LISTS,
    COUNT_SIGNALS,
    ENCODE_TEXTS,
    FINETUNE,
    FIT_FUSION,
    INGEST_CATALOG,
    INGEST_EVENTS,
    INGEST_USERS,
    MATCH_COLD_ITEMS,
    PUBLISH_LISTS,
    REENCODE,
    REFIT,
    RUN_GATE,
    SHUFFLE_HISTORIES,
    WRITE_LISTS,
)
from recsys.pipeline.write_report import write_report
from recsys.settings import Config
from recsys.storage.lease import Lease, lock
from recsys.storage.publish import published, unpublished_run

#: From the inputs to a trained model. Stages that do not apply to a config are left out.
TRAINING = (
    INGEST_CATALOG,
    INGEST_USERS,
    INGEST_EVENTS,
    SHUFFLE_HISTORIES,
    ENCODE_TEXTS,
    FINETUNE,
    REENCODE,
    COUNT_SIGNALS,
    MATCH_COLD_ITEMS,
    FIT_FUSION,
)
#: The whole night, in its order.
NIGHT = (*TRAINING, RUN_GATE, REFIT, WRITE_LISTS, CHECK_LISTS, PUBLISH_LISTS)


def run_night(run: Run, lease: Lease) -> None:
    """Run the stages of `NIGHT`; what a gate refuses is not published, unless the run was started with `--force`."""
    run_stages(run, (*TRAINING, RUN_GATE))
    stop_if_refused(run, RUN_GATE)
    run_stages(run, (REFIT, WRITE_LISTS, CHECK_LISTS))
    stop_if_refused(run, CHECK_LISTS)
    run_stage(run, PUBLISH_LISTS, lease=lease)


def nightly(config: Config, options: Namespace) -> command.Answer:
    """Run the night, or answer that it is published already."""
    run = open_run(config)
    if options.dry_run:
        print_plan(run, NIGHT)
        return {"status": "planned", "run_id": run.folder.run_id}
    if options.force:
        run = replace(run, folder=unpublished_run(run.folder), force=True)
    elif (latest := published(run.storage, run.folder.run_id)) is not None:
        if not run.storage.exists(run.folder.report_path):
            write_report(run)
        return {"status": "already_published", "run_id": latest.run_id, "path": run.storage.url(latest.path)}
    with lock(run.folder) as lease:
        command.prepare(run, NIGHT, force=options.force and not was_refused(run))
        with command.on_ray(config, NIGHT):
            refused = {}
            try:
                run_night(run, lease)
            except RecsysError as error:
                refused = error.details
                raise
            finally:
                metrics = {"run_id": run.folder.run_id, "stages": stage_metrics(run), "refused": refused}
                run.folder.write_metrics(metrics)
                write_report(run)
        delete_intermediate_files(run, NIGHT)
    command.print_stages(run, NIGHT, f"night {run.folder.run_id}")
    done = run.record(PUBLISH_LISTS)
    return {
        "status": "published",
        "run_id": run.folder.run_id,
        "path": run.storage.url(done.path),
        "latest": done.latest,
        "users": run.record(WRITE_LISTS).users,
        "model_id": run.published_id,
        **verdict_answer(run),
        "metrics": run.storage.url(run.folder.metrics_path),
        "report": run.storage.url(run.folder.report_path),
    }


def main() -> int:
    """The command line."""
    parser = command.parser("Make the list of every user and publish the lists.")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and the resolved config; write nothing")
    return command.run(nightly, parser)


if __name__ == "__main__":
    sys.exit(main())
