"""Checks before a night starts that the models exist which its experiments name."""

from recsys.errors import ConfigError
from recsys.settings import Config
from recsys.storage.filesystem import Storage


def require_arm_models(config: Config) -> None:
    """Look for the model of each arm in the storage.

    Raises:
        ConfigError: the storage does not hold a model.
    """
    storage = Storage(config.storage)
    for place, experiment in enumerate(config.experiments):
        for number, arm in enumerate(experiment.arms):
            if arm.model is not None and not storage.exists(f"models/{arm.model}/model.json"):
                raise ConfigError(
                    f"experiments.{place}.arms.{number}.model: {storage.url('models', arm.model)} holds no model; "
                    f"name a model of a published night of this storage"
                )
