"""Training alone: the stages of a night up to the fitted model. Nothing is published.

python jobs/finetune.py --config configs/demo.yaml
"""

from argparse import Namespace
from dataclasses import replace

from jobs import command
from jobs.nightly import TRAINING
from recsys.pipeline.close_night import describe_models
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run_stages import run_stages
from recsys.pipeline.stages import FINETUNE
from recsys.pipeline.start_run import started_run
from recsys.pipeline.training.training_budget import training_answer
from recsys.settings import Config


def train(config: Config, options: Namespace) -> command.Answer:
    """Train the night's ranker, unless it is trained already."""
    with (
        started_run(replace(open_run(config), force=options.force), TRAINING) as (run, _),
        command.on_ray(config, TRAINING),
    ):
        run_stages(run, TRAINING)
        failed = describe_models(run)
    return {
        "status": "trained",
        "run_id": run.folder.run_id,
        "path": run.storage.url(run.model_path()),
        "model_id": run.model_id,
        "validation_ndcg@10": run.record(FINETUNE).validation_ndcg,
        **training_answer(run),
        **failed,
    }


def main() -> int:
    """The command line."""
    force = (
        "train again beside what is published, which stays; a forced training that was interrupted goes on with "
        "--force again"
    )
    return command.run(train, command.parser("Fine-tune the ranker of a night.", force=force))


if __name__ == "__main__":
    command.end_process(main)
