"""The two deployments of the live service, bound together from a config; it knows no route and no model."""

from ray import serve
from ray.serve.config import BackpressureConfig
from ray.serve.schema import LoggingConfig

from recsys.config import Config
from recsys.serving.app import Ingress
from recsys.serving.ranker import Ranker
from recsys.serving.snapshots import Load


def application(config: Config, load: Load) -> serve.Application:
    """The Serve application of a config; ``load`` makes a snapshot of a published night."""
    spec = config.serve
    quiet = LoggingConfig(enable_access_log=False)  # the app's own says more, and no user's id
    scale = (
        {"num_replicas": spec.replicas}
        if spec.max_replicas is None
        else {"autoscaling_config": {"min_replicas": spec.replicas, "max_replicas": spec.max_replicas}}
    )
    ranker = serve.deployment(
        name="ranker",
        ray_actor_options={"num_cpus": spec.cpus_per_replica},
        # one batch is ranked while the next gathers; what is beyond waits in the queue, and more is refused
        max_ongoing_requests=2 * spec.max_batch_size,
        max_queued_requests=spec.max_queued,
        logging_config=quiet,
        **scale,
    )(Ranker)
    ingress = serve.deployment(
        name="ingress",
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=4 * (spec.max_queued + spec.max_batch_size),
        max_queued_requests=spec.max_queued,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
        logging_config=quiet,
    )(Ingress)
    return ingress.bind(ranker.bind(config.storage, spec, load), config.storage, spec, config.recommend.top_k)
