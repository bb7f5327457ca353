"""Checks before a night starts that the models which its experiments name can be used."""

from recsys.errors import ConfigError
from recsys.ranking.experiment_config import models_of_arms
from recsys.settings import Config
from recsys.storage.filesystem import Storage


def require_arm_models(config: Config) -> None:
    """Look for the model of each arm in the storage.

    Raises:
        ConfigError: the storage does not hold a model, or the night trains its text encoder: then no stored model
            reads the same one.
    """
    storage = Storage(config.storage)
    for key, model in models_of_arms(config.experiments).items():
        if not storage.exists(f"models/{model}/model.json"):
            raise ConfigError(
                f"{key}: {storage.url('models', model)} holds no model; name a model of a published night of this "
                f"storage"
            )
        if config.encoder.learns:
            raise ConfigError(
                f"{key}: {model} reads another text encoder than the model of the night, which trains its own by "
                f"encoder.train={config.encoder.train}: set that to frozen, or name no model"
            )
