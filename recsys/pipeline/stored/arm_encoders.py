"""Checks that the models of the arms of experiments read the text encoder of the night."""

from recsys.errors import ConfigError
from recsys.pipeline.run import Run
from recsys.pipeline.stored.published_model import model_card
from recsys.ranking.experiment_config import models_of_arms


def require_arm_encoders(run: Run, encoder_id: str) -> None:
    """Compare the encoder of each arm's model with that of the night.

    A model that is missing is passed over: `require_arm_models` names it.

    Raises:
        ConfigError: the model of an arm was trained with another encoder.
    """
    for key, model in models_of_arms(run.config.experiments).items():
        if not run.storage.exists(f"{run.model_path(model)}/model.json"):
            continue
        if (theirs := model_card(run, model).encoder_id) != encoder_id:
            raise ConfigError(
                f"{key}: {model} reads the text encoder {theirs[:12]}, the night's model reads {encoder_id[:12]}; name "
                f"a model that was trained with the same encoder"
            )
