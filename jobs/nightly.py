"""The night: from raw events and items to published lists, as stages that each run once.

python jobs/nightly.py --config configs/demo.yaml
"""

from argparse import Namespace
from dataclasses import replace

from jobs import command
from jobs.plan import print_plan
from recsys.enrichment.backends.registry import require_backend
from recsys.errors import RecsysError
from recsys.pipeline.close_night import clean_up, make_up, tidy_feedback, write_metrics_and_report
from recsys.pipeline.doctor.check_free_space import check_free_space
from recsys.pipeline.measuring.arm_models import require_arm_models
from recsys.pipeline.measuring.gate_summary import stop_if_refused, verdict_answer
from recsys.pipeline.open_run import open_run
from recsys.pipeline.publishing.retain_nights import retain_after
from recsys.pipeline.run import Run
from recsys.pipeline.run_stages import run_stage, run_stages
from recsys.pipeline.stages import (
    CHECK_LISTS,
    COUNT_SIGNALS,
    ENCODE_TEXTS,
    ENRICH_ITEMS,
    ENRICH_USERS,
    FINETUNE,
    FIT_FUSION,
    INGEST_CATALOG,
    INGEST_EVENTS,
    INGEST_USERS,
    LEARN_BASKETS,
    MATCH_COLD_ITEMS,
    PUBLISH_LISTS,
    READ_TITLES,
    REENCODE,
    REFIT,
    RUN_GATE,
    SHUFFLE_HISTORIES,
    WRITE_LISTS,
    WRITE_SIMILAR_ITEMS,
)
from recsys.pipeline.start_run import started_run
from recsys.pipeline.training.training_budget import training_answer
from recsys.settings import Config
from recsys.storage.lease import Lease
from recsys.storage.manifest import read_manifest, verify_tables
from recsys.storage.publish import last_published
from recsys.storage.runs import RunFolder
from recsys.storage.site import INDEX

#: From the inputs to a trained model. Stages that do not apply to a config are left out.
TRAINING = (
    INGEST_CATALOG,
    INGEST_USERS,
    INGEST_EVENTS,
    SHUFFLE_HISTORIES,
    ENRICH_ITEMS,
    ENRICH_USERS,
    ENCODE_TEXTS,
    LEARN_BASKETS,
    FINETUNE,
    REENCODE,
    COUNT_SIGNALS,
    MATCH_COLD_ITEMS,
    READ_TITLES,
    FIT_FUSION,
)
#: The whole night, in its order.
NIGHT = (*TRAINING, RUN_GATE, REFIT, WRITE_LISTS, CHECK_LISTS, WRITE_SIMILAR_ITEMS, PUBLISH_LISTS)


def run_night(run: Run, lease: Lease) -> None:
    """Run the stages of `NIGHT`; what a gate refuses is not published, unless the run was started with `--force`."""
    run_stages(run, (*TRAINING, RUN_GATE))
    stop_if_refused(run, RUN_GATE)
    run_stages(run, (REFIT, WRITE_LISTS, CHECK_LISTS))
    stop_if_refused(run, CHECK_LISTS)
    run_stages(run, (WRITE_SIMILAR_ITEMS,))
    run_stage(run, PUBLISH_LISTS, lease=lease)


def nightly(config: Config, options: Namespace) -> command.Answer:
    """Run the night, or answer that it is published already, after all its files were read and found to be whole."""
    require_arm_models(config)
    run = open_run(config)
    if options.dry_run:
        print_plan(run, NIGHT)
        return {"status": "planned", "run_id": run.folder.run_id}
    if not options.force and (latest := last_published(run.folder)) is not None:
        verify_tables(run.storage, read_manifest(run.storage, latest))
        answer = {"status": "already_published", "run_id": latest.run_id, "path": run.storage.url(latest.path)}
        return answer | make_up(replace(run, folder=RunFolder(run.storage, latest.run_id)), NIGHT)
    require_backend(config.enrich)
    check_free_space(run, NIGHT)
    with started_run(replace(run, force=options.force), NIGHT) as (run, lease):
        with command.on_ray(config, NIGHT):
            refused = {}
            try:
                run_night(run, lease)
            except RecsysError as error:
                refused = error.details
                raise
            finally:
                failed = write_metrics_and_report(run, refused)
        failed |= clean_up(run, NIGHT) | tidy_feedback(run) | retain_after(run)
    done, written = run.record(PUBLISH_LISTS), run.record(WRITE_LISTS)
    return {
        "status": "published",
        "run_id": run.folder.run_id,
        "path": run.storage.url(done.path),
        "latest": done.latest,
        "users": written.users,
        **({"fallback_users": written.fallback_users} if written.fallback_users else {}),
        "model_id": run.published_id,
        **verdict_answer(run),
        **training_answer(run),
        "metrics": run.storage.url(run.folder.metrics_path),
        "report": run.storage.url(run.folder.report_path),
        "site": run.storage.url(INDEX),
        **failed,
    }


def main() -> int:
    """The command line."""
    force = (
        "begin the night again beside what is published, which stays, or publish the lists that a gate refused; a "
        "forced night that was interrupted goes on with --force again"
    )
    parser = command.parser("Make the list of every user and publish the lists.", force=force)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and the resolved config; write nothing")
    return command.run(nightly, parser)


if __name__ == "__main__":
    command.end_process(main)
