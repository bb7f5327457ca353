"""Counts and times of requests, for Prometheus through Ray's own export."""

from ray.util import metrics


class RequestMetrics:
    """Made in the process that answers, since Ray's metrics belong to one."""

    def __init__(self) -> None:
        self._requests = metrics.Counter(
            "recsys_requests_total", "Answered requests.", tag_keys=("route", "status", "strategy")
        )
        self._seconds = metrics.Histogram(
            "recsys_request_seconds",
            "Seconds from a request's arrival at the app to its answer.",
            boundaries=[0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1, 2, 5],
            tag_keys=("route",),
        )

    def answered(self, route: str | None, status: int, strategy: str | None, seconds: float) -> None:
        """One request; ``route`` None: there is none of that path."""
        self._requests.inc(1.0, {"route": route or "none", "status": str(status), "strategy": strategy or "none"})
        self._seconds.observe(seconds, {"route": route or "none"})
