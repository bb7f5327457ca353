"""The metrics, in the order of tables; metrics of plugins come after these."""

from recsys.errors import ConfigError
from recsys.evaluation.metrics.average_popularity import AveragePopularity
from recsys.evaluation.metrics.coverage import Coverage
from recsys.evaluation.metrics.gini import Gini
from recsys.evaluation.metrics.hitrate import HitRate
from recsys.evaluation.metrics.intra_list_diversity import IntraListDiversity
from recsys.evaluation.metrics.longtail_share import LongtailShare
from recsys.evaluation.metrics.metric import AccuracyMetric, CatalogMetric, ListMetric, Metric
from recsys.evaluation.metrics.mrr import Mrr
from recsys.evaluation.metrics.ndcg import Ndcg
from recsys.evaluation.metrics.novelty import Novelty
from recsys.evaluation.metrics.recall import Recall
from recsys.registry import Registry

METRICS: Registry[Metric] = Registry("metric")
METRICS.register(Ndcg())
METRICS.register(Recall())
METRICS.register(HitRate())
METRICS.register(Mrr())
METRICS.register(LongtailShare())
METRICS.register(AveragePopularity())
METRICS.register(Novelty())
METRICS.register(IntraListDiversity())
METRICS.register(Coverage())
METRICS.register(Gini())

#: The longest list that a metric looks at.
MAX_K = 9999


def accuracy_metrics() -> list[AccuracyMetric]:
    """The metrics that compare lists with what users wanted."""
    return [metric for metric in METRICS if isinstance(metric, AccuracyMetric)]


def list_metrics() -> list[ListMetric]:
    """The metrics of single lists."""
    return [metric for metric in METRICS if isinstance(metric, ListMetric)]


def catalog_metrics() -> list[CatalogMetric]:
    """The metrics of all lists together."""
    return [metric for metric in METRICS if isinstance(metric, CatalogMetric)]


def parse_metric(text: str) -> tuple[AccuracyMetric, int]:
    """The accuracy metric and the number of places that a name like `ndcg@10` means.

    Raises:
        ConfigError: no accuracy metric has this name, or k is not a whole number from 1 to `MAX_K`.
    """
    name, _, digits = text.partition("@")
    metrics = {metric.name: metric for metric in accuracy_metrics()}
    if name not in metrics:
        known = ", ".join(f"{each}@k" for each in metrics)
        reason = "does not compare lists with what users wanted" if name in METRICS else "is not known"
        raise ConfigError(f"metric {text!r} {reason}; choose one of {known}; a module in `plugins` may register more")
    if not (digits.isascii() and digits.isdigit() and digits[0] != "0" and int(digits) <= MAX_K):
        raise ConfigError(f"metric {text!r}: write {name}@10; the number of places is from 1 to {MAX_K}")
    return metrics[name], int(digits)
