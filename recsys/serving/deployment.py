"""The live service as a deployment, from a config; it knows no route and no model."""

from ray import serve
from ray.serve.config import BackpressureConfig
from ray.serve.schema import LoggingConfig

from recsys.serving.app import Service
from recsys.serving.snapshots import Load
from recsys.settings import Config

#: The app never blocks its event loop, so that Serve need not hand each request to another thread.
ENVIRONMENT = {"RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0"}
#: Of Serve's proxies and replicas alike: the app's own access log says more than their lines, of which each has a cost.
LOGGING = {"encoding": "TEXT", "enable_access_log": False}

#: Requests of any kind that a replica may have in hand beside those for lists, which it limits itself.
_ONGOING = 256


def application(config: Config, load: Load) -> serve.Application:
    """The Serve application of a config; ``load`` makes a snapshot of a published night."""
    spec = config.serve
    scale = (
        {"num_replicas": spec.replicas}
        if spec.max_replicas is None
        else {"autoscaling_config": {"min_replicas": spec.replicas, "max_replicas": spec.max_replicas}}
    )
    service = serve.deployment(
        name="service",
        ray_actor_options={"num_cpus": spec.cpus_per_replica, "runtime_env": {"env_vars": ENVIRONMENT}},
        max_ongoing_requests=_ONGOING + spec.max_queued,
        max_queued_requests=_ONGOING,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
        logging_config=LoggingConfig(**LOGGING),
        **scale,
    )(Service)
    return service.bind(load, config.storage, spec, config.recommend.top_k)
