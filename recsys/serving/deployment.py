"""The Ray Serve application of the live service, with the settings of a config."""

from ray import serve
from ray.serve.config import BackpressureConfig
from ray.serve.schema import LoggingConfig

from recsys.data.events.event_checks import row_rules
from recsys.serving.app import Service
from recsys.serving.error_replies import RETRY_AFTER_S
from recsys.serving.snapshot_reload import Load
from recsys.settings import Config

#: The app never blocks its event loop, so Serve need not run it in another thread.
ENVIRONMENT = {"RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0"}
#: For Serve's proxies and replicas. The app has its own access log; a second one costs time for each request.
LOGGING = {"encoding": "TEXT", "enable_access_log": False}

#: Requests that a replica may have at a time in addition to those for lists, which the app limits itself.
_ONGOING = 256


def serve_application(config: Config, load: Load) -> serve.Application:
    """The Serve application of a config; ``load`` makes a snapshot of a published run."""
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
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=RETRY_AFTER_S["too_many_requests"]),
        logging_config=LoggingConfig(**LOGGING),
        **scale,
    )(Service)
    return service.bind(load, config.storage, spec, config.recommend.top_k, row_rules(config.inputs))
