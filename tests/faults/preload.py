"""What the server of processes imports before it forks: the libraries of a night."""

from importlib import import_module

from jobs.nightly import NIGHT

_ALSO = ("train_worker", "track_night", "write_model_cards", "cluster")

for _module in (*(stage.module for stage in NIGHT), *(f"recsys.pipeline.{name}" for name in _ALSO)):
    import_module(_module)
