"""Starting the workers of a training: one Ray task for a small training on CPUs, else Ray Train."""

import os
from typing import Any, NamedTuple

import ray
import ray.data
import ray.train
from ray.train.backend import Backend
from ray.train.torch import TorchConfig, TorchTrainer

from recsys.pipeline.training.checkpoint_store import Checkpoint, StoredCheckpoints
from recsys.pipeline.training.train_entry import Training, train_in_task, train_worker
from recsys.pipeline.training.training_progress import ProgressReader
from recsys.pipeline.workers.cluster import PASSIVE_WAIT
from recsys.pipeline.workers.quiet_engine import quiet_engine
from recsys.pipeline.workers.worker_failures import MAX_RETRIES
from recsys.pipeline.workers.worker_pools import call_in_worker

#: Seconds between two looks of Ray Train's controller at its workers. Ray's default is 2.
POLL_S = "0.1"
#: Times that a training continues after its machine was taken back, as spot machines are; no fault of the training.
MAX_PREEMPTIONS = 20


class Trained(NamedTuple):
    """A finished training."""

    best: Checkpoint
    metrics: dict[str, Any]
    """Metrics of the last epoch: the figures and phases of all epochs are among them."""


def run_training(fit: Training) -> Trained:
    """Train until the plan is done. A worker that died continues from its last checkpoint."""
    with ProgressReader(fit.run.storage, fit.progress_path).following():
        return _in_one_task(fit) if fit.in_one_task else _by_ray_train(fit)


def _in_one_task(fit: Training) -> Trained:
    """Train in a process that is there already. Ray Train would start five more, which takes 10 s of CPU."""
    config = fit.run.config.train
    call_in_worker(
        train_in_task,
        fit,
        label="train",
        name="train",
        max_retries=config.max_failures,
        num_cpus=fit.threads,
        runtime_env={} if "OMP_WAIT_POLICY" in os.environ else {"env_vars": PASSIVE_WAIT},
    )
    store = StoredCheckpoints(fit.run.storage, fit.checkpoints_path)
    return Trained(store.best(), store.last_metrics())


class _NoProcessGroup(TorchConfig):
    """For the engine of plain PyTorch, which needs no process group: making one takes about a second."""

    @property
    def backend_cls(self) -> type[Backend]:
        """A backend that does nothing."""
        return Backend


class _Trainer(TorchTrainer):
    """Without two things that Ray does itself when the job ends.

    An actor removes the workers' resources after the controller died. It asks for the controller's state by the address
    of a Ray that it looks for on the machine. Where it finds another Ray, or one without a dashboard, it writes
    warnings and tracebacks into every night. A handler of Ctrl-C ends the training, and the process without a word.
    """

    def _create_default_callbacks(self) -> list[Any]:
        created: list[Any] = super()._create_default_callbacks()  # type: ignore[misc]  # mypy reads Ray Train v1
        return [each for each in created if type(each).__name__ != "PlacementGroupCleanerCallback"]

    def _register_sigint_handler(self, controller: Any) -> None:
        """Leave Ctrl-C to the job, which says that it was interrupted. The handler would stay after the training."""


def _by_ray_train(fit: Training) -> Trained:
    quiet_engine()  # Ray Train names loggers by its files, and they are there only now
    run, config = fit.run, fit.run.config.train
    filesystem, root = run.storage.arrow()
    datasets: dict[Any, ray.data.Dataset] = {
        kind: each.dataset() for kind, each in fit.windows.items() if not fit.fetches(kind)
    }
    # Ray Train's controller asks workers for reports this often, and a worker waits until its report was taken
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", POLL_S)
    trainer = _Trainer(
        train_worker,
        train_loop_config={"fit": fit},
        torch_config=TorchConfig() if config.uses_deepspeed else _NoProcessGroup(),
        datasets=dict(datasets),
        dataset_config=ray.train.DataConfig(
            datasets_to_split=[kind for kind in datasets if kind != "validation"],
            execution_options=ray.data.ExecutionOptions(preserve_order=True),
        ),
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.num_workers,
            use_gpu=config.use_gpu,
            resources_per_worker={"CPU": fit.threads, "GPU": int(config.use_gpu)},
        ),
        run_config=ray.train.RunConfig(  # type: ignore[call-arg]  # mypy reads the class of Ray Train v1
            name=fit.name,
            storage_path=f"{root}/{run.train_dir}",
            storage_filesystem=filesystem,
            worker_runtime_env={"env_vars": {} if config.use_gpu else PASSIVE_WAIT},
            failure_config=ray.train.FailureConfig(  # by default the other two have no limit
                max_failures=config.max_failures,
                controller_failure_limit=MAX_RETRIES,  # type: ignore[call-arg]  # mypy reads the class of v1
                max_preemption_failures=MAX_PREEMPTIONS,
            ),
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute="score", checkpoint_score_order="max"
            ),
        ),
    )
    result = trainer.fit()
    assert result.best_checkpoints, "training ended without a checkpoint"
    assert result.metrics, "training ended without figures"
    checkpoint, metrics = max(result.best_checkpoints, key=lambda pair: pair[1]["score"])
    return Trained(Checkpoint(checkpoint.as_directory(), metrics), result.metrics)
