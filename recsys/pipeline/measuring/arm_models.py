"""Checks before a night starts that the models exist which its experiments name."""

from recsys.errors import ConfigError
from recsys.ranking.experiment_config import models_of_arms
from recsys.settings import Config
from recsys.storage.filesystem import Storage


def require_arm_models(config: Config) -> None:
    """Look for the model of each arm in the storage.

    Raises:
        ConfigError: the storage does not hold a model.
    """
    storage = Storage(config.storage)
    for key, model in models_of_arms(config.experiments).items():
        if not storage.exists(f"models/{model}/model.json"):
            raise ConfigError(
                f"{key}: {storage.url('models', model)} holds no model; name a model of a published night of this "
                f"storage"
            )
