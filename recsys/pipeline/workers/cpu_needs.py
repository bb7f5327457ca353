"""How many CPUs a run needs at the same time."""

from recsys.pipeline.workers.cluster import machine_cpus
from recsys.settings import Config


def min_cpus(config: Config) -> int:
    """CPUs that the widest stage needs: training keeps those of its workers while Ray Data feeds them with one more."""
    train = config.train
    each = train.cpus_of_worker(max(1, machine_cpus() // train.num_workers))
    scoring = (config.recommend.num_workers or 1) * config.recommend.cpus_per_worker
    return max(train.num_workers * each + 1, scoring)
