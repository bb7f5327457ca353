"""Loading the snapshots of all variants of a night's experiments."""

from recsys.pipeline.run import Run
from recsys.pipeline.scoring.load_snapshot import load_snapshots
from recsys.ranking.config import RecommendConfig
from recsys.ranking.experiment_config import variants_of
from recsys.ranking.snapshot import Snapshot
from recsys.ranking.variants import Variants


def load_variants(run: Run, model_id: str, config: RecommendConfig, *, explore: bool = True) -> Variants:
    """The snapshots of a run by variant; without experiments only the default.

    Variants of one model share all but the re-ranking.

    Args:
        run: Whose catalog, counts and experiments are taken.
        model_id: The model of users whose variant names no other.
        config: Device and threads.
        explore: Whether `rerank.exploration` has an effect.
    """
    settings = variants_of(run.config.experiments, config, run.config.rerank)
    off = {} if explore else {"exploration": 0.0}
    by_model: dict[str, list[str]] = {}
    for name, variant in settings.items():
        by_model.setdefault(variant.model or model_id, []).append(name)
    snapshots: dict[str, Snapshot] = {}
    for model, names in by_model.items():
        reranks = [settings[name].rerank.model_copy(update=off) for name in names]
        snapshots |= dict(zip(names, load_snapshots(run, model, config, "full", reranks), strict=True))
    changed = {name: one.recommend.candidates for name, one in settings.items() if one.recommend != config}
    return Variants(experiments=run.config.experiments, snapshots=snapshots, candidates=changed)
